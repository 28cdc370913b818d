"""
Whole requests under ASGI: `python -m benchmarks.asgi`.
"""
