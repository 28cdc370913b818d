"""
Load, change and save a session in many coroutines at once: `python -m benchmarks.coroutines`.
"""
