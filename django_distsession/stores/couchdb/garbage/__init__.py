"""
Garbage collection: what expired is removed, what diverged is merged.
"""
