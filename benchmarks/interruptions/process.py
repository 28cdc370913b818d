"""
The process that is interrupted. Its argument is a JSON object: see `main`.

It prints "slow" when it wants the links to its servers slowed down, waits for a line that says so,
and then prints what came of it as a JSON object.
"""

from __future__ import annotations

import sys

if sys.argv[1] == "greenlets":
    from gevent import monkey

    monkey.patch_all()

import json
import os
from importlib import import_module
from typing import Any

from benchmarks.interruptions.places import lost_places
from benchmarks.interruptions.users import INTERRUPTIONS, Notes, User
from testproject.workers.operations import configure, session_class


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[-1])
    configure(given["engine"], given["distsession"])
    unraisable: list[str] = []
    sys.unraisablehook = lambda about: (
        unraisable.append(f"{about.exc_type.__name__}: {about.exc_value} in {about.object!r}")
        if about.exc_type not in INTERRUPTIONS
        else None
    )
    notes = Notes()
    # Switches come anywhere, too.
    sys.setswitchinterval(0.00001)
    users: list[User] = []
    limits = (given["exceptions"], given["seconds"], given["hang_after"])
    module = import_module(f"benchmarks.interruptions.{sys.argv[1]}")
    driver = module.Driver(users, notes, *limits)
    users += [
        User(number, session_class(), notes, driver.is_over) for number in range(given["users"])
    ]
    for user in users:
        user.arrive()
    driver.run()
    lost = 0
    if not driver.hung:
        print("slow", flush=True)
        sys.stdin.readline()
        load = users[0].look
        lost = lost_places(load, given["pool_size"], given["round_trip"])
    print(
        json.dumps(
            {
                "thrown": notes.thrown,
                "met": notes.met,
                "requests": notes.requests,
                "hung": driver.hung,
                "wrong": notes.wrong,
                "lost_places": lost,
                "unraisable": unraisable,
                "errors": dict(notes.errors),
            }
        ),
        flush=True,
    )
    # Threads that hang would be waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
