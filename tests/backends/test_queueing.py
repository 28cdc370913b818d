from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from django_distsession.backends import queueing
from django_distsession.backends.queueing import SaveQueues, Ticket
from django_distsession.stores.contract import Versioned
from django_distsession.stores.operations import run
from django_distsession.stores.record import Record
from tests.conftest import stored
from tests.sessions import Calls, Engine, interposed

# A test that gets this far hangs.
FOREVER = 60.0


class Interrupted(BaseException):
    """
    What a signal handler raises.
    """


def joined(queues: SaveQueues, storage_id: str = "id") -> Ticket:
    ticket = Ticket(storage_id)
    queues.join(ticket)
    return ticket


def deadline(seconds: float = FOREVER) -> float:
    return time.monotonic() + seconds


def test_many_saves_of_one_session_make_few_requests(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = 64
    key = stored(session_class, value=0)
    store, asked = interposed(session_class), []
    ready = threading.Barrier(saves)
    get, replace = store.get, store.replace

    def count(name: str, call: Any, *args: Any) -> Any:
        asked.append(name)
        return call(*args)

    monkeypatch.setattr(store, "get", partial(count, "get", get))
    monkeypatch.setattr(store, "replace", partial(count, "replace", replace))

    def save(number: int) -> None:
        session = session_class(key)
        session[f"key{number}"] = number
        ready.wait()
        session.save()

    with ThreadPoolExecutor(saves) as threads:
        list(threads.map(save, range(saves)))
    # Each reads once, is refused once as a rule, and goes on from what the one before it stored.
    assert asked.count("get") <= 2 * saves
    assert asked.count("replace") <= 3 * saves
    expected = {"value": 0, **{f"key{number}": number for number in range(saves)}}
    assert dict(session_class(key).items()) == expected
    assert session_class.runtime.queues.last == {}


def test_a_save_goes_on_from_what_the_one_before_it_stored_and_tells_the_next(
    in_memory: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(in_memory, value=0)
    session, ahead = in_memory(key), in_memory(key)
    session["mine"] = ahead["theirs"] = 1
    ahead.save()
    assert ahead.loaded is not None
    queues, storage_id = in_memory.runtime.queues, in_memory.storage_id(key) or ""
    before = joined(queues, storage_id)
    before.stored = Versioned(ahead.loaded.record, ahead.loaded.token)
    before.finish()
    leave = queues.leave
    told: list[Versioned | None] = []

    def noting(ticket: Ticket) -> None:
        told.append(ticket.stored)
        leave(ticket)

    monkeypatch.setattr(queues, "leave", noting)
    calls = Calls(interposed(in_memory), monkeypatch)
    session.save()
    # Without a conflict.
    assert calls == ["replace"]
    assert told == [in_memory.get_store().get(storage_id)]
    assert dict(in_memory(key).items()) == {"value": 0, "mine": 1, "theirs": 1}


def test_who_came_first_is_served_first_and_leaves_what_it_stored() -> None:
    queues, order = SaveQueues(), []
    tickets = [joined(queues) for _ in range(5)]
    found = [Versioned(Record.tombstone(number), None) for number in range(5)]
    assert run(tickets[0].wait_gen(deadline())) is None

    def take_turn(number: int) -> None:
        before = run(tickets[number].wait_gen(deadline()))
        assert before is not None
        order.append((number, before.record.expires_at))
        tickets[number].stored = found[number]
        queues.leave(tickets[number])

    with ThreadPoolExecutor(4) as threads:
        turns = [threads.submit(take_turn, number) for number in (4, 2, 3, 1)]
        tickets[0].stored = found[0]
        queues.leave(tickets[0])
        for turn in turns:
            turn.result(FOREVER)
    assert order == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert "id" not in queues.last
    assert queues.last == {}


def test_sessions_do_not_wait_for_each_other() -> None:
    queues = SaveQueues()
    joined(queues, "one")
    assert run(joined(queues, "other").wait_gen(deadline())) is None


def test_who_waits_gives_up_at_its_deadline() -> None:
    queues = SaveQueues()
    joined(queues)
    began = time.monotonic()
    assert run(joined(queues).wait_gen(began + 0.01)) is None
    assert time.monotonic() - began < queueing.LONGEST_TURN


def test_a_save_that_does_not_get_on_holds_up_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queueing, "LONGEST_TURN", 0.01)
    queues = SaveQueues()
    stuck, *waiting = [joined(queues) for _ in range(4)]
    assert run(stuck.wait_gen(deadline())) is None
    for ticket in waiting:
        assert run(ticket.wait_gen(deadline())) is None
        queues.leave(ticket)
    assert queues.last == {}
    queues.leave(stuck)


def test_leaving_twice_does_no_harm() -> None:
    queues = SaveQueues()
    ticket = joined(queues)
    queues.leave(ticket)
    after = joined(queues)
    queues.leave(ticket)
    assert "id" in queues.last
    queues.leave(after)
    assert queues.last == {}


def test_a_child_process_waits_for_nobody() -> None:
    queues = SaveQueues()
    joined(queues)
    child = os.fork()
    if child == 0:
        os._exit("id" in queues.last)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_that_stand_behind_the_same_one_both_go() -> None:
    queues = SaveQueues()
    first = joined(queues)
    one, other = Ticket("id"), Ticket("id")
    for ticket in (one, other):
        ticket.follow(first)
    first.stored = Versioned(Record.tombstone(1), None)
    queues.leave(first)
    assert run(one.wait_gen(deadline())) == run(other.wait_gen(deadline())) == first.stored


def interrupt_at(line: int, call: Any) -> bool:
    """
    Call, and raise `Interrupted` at this line, counted from the first one that is executed in the
    queue or by whoever queues. Return whether it got that far.
    """
    left = line

    def on_line(frame: Any, event: str, arg: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise Interrupted
        return on_line

    def on_call(frame: Any, event: str, arg: Any) -> Any:
        code = frame.f_code
        concerned = code.co_filename == queueing.__file__ or code.co_name == "_replace_in_turn_gen"
        return on_line if concerned else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interruption_at_any_line_makes_no_queue_stand_still(
    settings: Any, distsession: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_distsession.backends.memcached import SessionStore

    monkeypatch.setattr(queueing, "LONGEST_TURN", 0.01)
    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
    key = stored(SessionStore, value=-1)
    storage_id = SessionStore.storage_id(key) or ""
    queues = SessionStore.runtime.queues
    line, was_interrupted = 0, True
    while was_interrupted:
        first = joined(queues, storage_id)
        first.finish()
        session = SessionStore(key)
        session["value"] = line
        was_interrupted = interrupt_at(line, session.save)
        queues.leave(first)
        # Whatever was left behind, the next two go ahead, and clear up.
        for ticket in [joined(queues, storage_id) for _ in range(2)]:
            run(ticket.wait_gen(deadline()))
            queues.leave(ticket)
        assert queues.last == {}
        line += 1
    assert line > 30
    assert SessionStore(key)["value"] == line - 1
