"""
Web processes for tests and benchmarks, as far as a session engine can tell: they keep their
connections open between requests, and do as they are told, line by line.
"""

from __future__ import annotations

from testproject.workers.worker import ROOT, Answer, Worker, running_workers

__all__ = ["ROOT", "Answer", "Worker", "running_workers"]
