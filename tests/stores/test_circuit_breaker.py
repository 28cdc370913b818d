from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from django_distsession.clock import Clock
from django_distsession.stores.circuit_breaker import CircuitBreaker
from django_distsession.stores.deadline import Deadline

# Seconds within which everything happens, and within which nothing does by itself.
SOON = 10.0
NEVER = 1000.0
ERROR = TimeoutError("timed out")


class Server:
    """
    A server whose every answer to a probe the test gives.
    """

    def __init__(self) -> None:
        self.asked: SimpleQueue[float] = SimpleQueue()
        self.answers: SimpleQueue[BaseException | None] = SimpleQueue()
        self.recovered = threading.Event()

    def probe(self, seconds: float) -> None:
        self.asked.put(seconds)
        error = self.answers.get(timeout=SOON)
        try:
            if error is not None:
                raise error
        finally:
            # Its traceback leads here, and from here to the breaker.
            del error


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def make(server: Server) -> Iterator[Callable[..., CircuitBreaker]]:
    made: list[CircuitBreaker] = []

    def one(retry_after: float = 0.001, time_out: float = 5.0) -> CircuitBreaker:
        breaker = CircuitBreaker(
            server.probe,
            retry_after=retry_after,
            time_out=time_out,
            recovered=server.recovered.set,
            jitter=lambda: 1.0,
        )
        made.append(breaker)
        return breaker

    yield one
    for breaker in made:
        breaker.close()
    for _ in range(4):
        server.answers.put(None)
    until(lambda: not watchers())


# Those of other tests, whose servers are gone for good.
others: set[threading.Thread] = set()


def running() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "distsession-watcher"}


def watchers() -> set[threading.Thread]:
    return running() - others


@pytest.fixture(autouse=True)
def only_our_watchers_count() -> None:
    others.clear()
    others.update(running())


def until(condition: Callable[[], object]) -> None:
    deadline = Deadline(SOON)
    while not condition():
        deadline.require()


def test_while_all_is_well_nobody_watches(make: Callable[..., CircuitBreaker]) -> None:
    breaker = make()
    assert breaker.allows()
    assert not breaker.succeeded()
    assert not watchers()
    assert breaker.status().up
    assert breaker.up_since == 0.0


def test_the_first_failure_opens_it_and_starts_one_watcher(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make()
    assert [breaker.failed(ERROR) for _ in range(32)] == [True] + [False] * 31
    assert not breaker.allows()
    assert not breaker.is_refusing
    status = breaker.status()
    assert (status.up, status.last_error) == (False, "TimeoutError: timed out")
    # At once, and given as long as a request.
    assert server.asked.get(timeout=SOON) == 5.0
    assert len(watchers()) == 1


def test_the_watcher_tries_until_the_server_answers(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make()
    breaker.failed(ERROR)
    for error in (ERROR, ConnectionRefusedError(), ConnectionResetError()):
        server.asked.get(timeout=SOON)
        server.answers.put(error)
    server.asked.get(timeout=SOON)
    assert not breaker.is_up
    server.answers.put(None)
    assert server.recovered.wait(SOON)
    assert breaker.is_up
    assert breaker.up_since > 0
    until(lambda: not watchers())
    assert not breaker.succeeded()


def test_it_tells_by_the_time_of_day_since_when_that_is_so(server: Server) -> None:
    now = [1000.0]
    breaker = CircuitBreaker(
        server.probe, retry_after=NEVER, time_out=0.0, clock=Clock(now=lambda: now[0])
    )
    assert (breaker.status().since, breaker.up_since) == (1000.0, 0.0)
    now[0] = 2000.0
    breaker.failed(ERROR)
    assert breaker.status().since == 2000.0
    now[0] = 3000.0
    breaker.succeeded()
    assert breaker.status().since == breaker.up_since == 3000.0
    server.answers.put(None)
    until(lambda: not watchers())


def test_a_probe_waits_as_long_as_the_pause_to_the_next_one(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make(retry_after=NEVER)
    breaker.failed(ERROR)
    # So a server that hung is known to be back as soon as it goes on.
    assert server.asked.get(timeout=SOON) == NEVER
    server.answers.put(None)
    assert server.recovered.wait(SOON)


def test_it_knows_whether_anybody_listens(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make()
    breaker.failed(ConnectionRefusedError())
    assert (breaker.is_hung, breaker.is_refusing) == (False, True)
    for error, hung, refusing in (
        (TimeoutError(), True, False),
        (FileNotFoundError(), False, True),
        (ConnectionResetError(), False, False),
    ):
        server.asked.get(timeout=SOON)
        server.answers.put(error)
        server.asked.get(timeout=SOON)
        assert (breaker.is_hung, breaker.is_refusing) == (hung, refusing)
        server.answers.put(TimeoutError())
    server.asked.get(timeout=SOON)
    server.answers.put(None)
    assert server.recovered.wait(SOON)
    assert (breaker.is_hung, breaker.is_refusing) == (False, False)


def test_a_request_that_is_answered_ends_the_watch(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make()
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    assert breaker.succeeded()
    assert breaker.is_up
    server.answers.put(TimeoutError())
    until(lambda: not watchers())
    # The next failure starts another.
    assert breaker.failed(ERROR)
    server.asked.get(timeout=SOON)


def test_whoever_needs_the_answer_waits_for_the_probe_under_way(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make(retry_after=NEVER, time_out=NEVER)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    got: SimpleQueue[bool] = SimpleQueue()
    waiting = [
        threading.Thread(target=lambda: got.put(breaker.await_answer(Deadline(NEVER))))
        for _ in range(8)
    ]
    for thread in waiting:
        thread.start()
    until(lambda: len(breaker._next_outcome._waiting) == 8)
    server.answers.put(None)
    assert [got.get(timeout=SOON) for _ in waiting] == [True] * 8
    for thread in waiting:
        thread.join()


def test_he_does_not_wait_for_the_next_probe(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make(retry_after=NEVER, time_out=NEVER)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    got: SimpleQueue[bool] = SimpleQueue()
    waiting = threading.Thread(target=lambda: got.put(breaker.await_answer(Deadline(NEVER))))
    waiting.start()
    until(lambda: breaker._next_outcome._waiting)
    server.answers.put(ConnectionResetError())
    assert not got.get(timeout=SOON)
    waiting.join()


def test_he_does_not_wait_for_a_server_that_hangs_already(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make(retry_after=NEVER, time_out=0.0)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    assert not breaker.await_answer(Deadline(NEVER))


def test_he_waits_a_moment_only_once_it_has_hung_for_a_whole_time_out(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make(time_out=NEVER)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    server.answers.put(TimeoutError())
    # The next probe is under way.
    server.asked.get(timeout=SOON)
    began = time.monotonic()
    assert not breaker.await_answer(Deadline(NEVER))
    assert time.monotonic() - began < SOON


def test_he_has_it_probed_anew_where_the_probe_may_have_got_lost(server: Server) -> None:
    now = [0.0]
    breaker = CircuitBreaker(
        server.probe,
        retry_after=0.001,
        time_out=NEVER,
        clock=Clock(monotonic=lambda: now[0]),
        jitter=lambda: 1.0,
    )
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    server.answers.put(TimeoutError())
    server.asked.get(timeout=SOON)
    # One that is as good as new is waited for.
    assert not breaker.await_answer(Deadline(0.01))
    assert server.asked.empty()
    now[0] += 1.0
    assert not breaker.await_answer(Deadline(0.01))
    # Well before the older one is over.
    server.asked.get(timeout=SOON / 2)
    # What the older one says in the end is of no interest, unless it is good news.
    server.answers.put(ConnectionRefusedError())
    server.answers.put(None)
    until(lambda: not watchers())
    assert breaker.is_up


def test_one_that_nobody_watches_is_watched_by_whoever_passes_it_by(
    make: Callable[..., CircuitBreaker], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    breaker = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        breaker.failed(ERROR)
        assert not breaker.allows()
    assert not breaker.allows()
    server.asked.get(timeout=SOON)


def test_he_does_not_wait_past_his_deadline(make: Callable[..., CircuitBreaker]) -> None:
    breaker = make(retry_after=NEVER, time_out=NEVER)
    breaker.failed(ERROR)
    assert not breaker.await_answer(Deadline(0.01))


def test_a_watcher_does_not_keep_alive_what_nobody_uses(server: Server) -> None:
    breaker = CircuitBreaker(server.probe, retry_after=0.001, time_out=0.0)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    gone = weakref.ref(breaker)
    del breaker
    server.answers.put(TimeoutError())
    until(lambda: not watchers())
    gc.collect()
    assert gone() is None


def test_a_watcher_that_got_lost_is_replaced(
    make: Callable[..., CircuitBreaker], server: Server
) -> None:
    breaker = make(time_out=0.0)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    # It hangs in its probe, for longer than any probe may take.
    until(lambda: not breaker._is_watched())
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    server.answers.put(None)
    assert server.recovered.wait(SOON)
    server.answers.put(TimeoutError())
    until(lambda: not watchers())
    assert breaker.is_up


def test_where_there_are_no_more_threads_the_next_failure_tries_again(
    make: Callable[..., CircuitBreaker], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    breaker = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        assert breaker.failed(ERROR)
    assert not watchers()
    assert not breaker.failed(ERROR)
    server.asked.get(timeout=SOON)


def test_closing_ends_the_watch(make: Callable[..., CircuitBreaker], server: Server) -> None:
    breaker = make(retry_after=NEVER)
    breaker.failed(ERROR)
    server.asked.get(timeout=SOON)
    server.answers.put(TimeoutError())
    breaker.close()
    until(lambda: not watchers())
    assert server.asked.empty()


def test_a_process_ends_while_a_server_is_watched() -> None:
    child = os.fork()
    if not child:
        breaker = CircuitBreaker(
            lambda seconds: threading.Event().wait(), retry_after=1, time_out=1
        )
        breaker.failed(ERROR)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
