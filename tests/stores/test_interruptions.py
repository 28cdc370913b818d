"""
Exceptions thrown into requests at any moment: no request hangs, none reads what is another's, and
no connection is lost. At length: `python -m benchmarks.interruptions`.
"""

from __future__ import annotations

import pytest

from benchmarks.interruptions.running import Options, run


@pytest.mark.parametrize(
    "options",
    [
        Options(exceptions=1000, seconds=2.0, users=16, pool_size=2, hang_after=10.0),
        Options(exceptions=500, seconds=1.5, users=16, pool_size=2, hang_after=10.0, gevent=True),
    ],
    ids=["threads", "greenlets"],
)
def test_interruptions_do_no_harm(options: Options) -> None:
    result = run(options)
    assert result.met > 20
    assert result.harm == {}
