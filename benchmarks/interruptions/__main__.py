"""
Throw exceptions into requests, and print what that did. The exit status is 1 if it did harm.
"""

from __future__ import annotations

import argparse

from benchmarks.interruptions.running import Options, run

ENGINES = ("memcached", "couchdb", "hybrid")


def main() -> None:
    options = parse()
    result = run(options)
    print(
        f"{options.engine}, {options.users} {'greenlets' if options.gevent else 'threads'}, pools "
        f"of {options.pool_size}: {result.thrown} exceptions, of which {result.met} hit one of "
        f"{result.requests} requests"
    )
    for kind, what in result.harm.items():
        print(f"{kind}: {what if isinstance(what, int) else len(what)}")
        details = what if isinstance(what, list) else what.items() if isinstance(what, dict) else ()
        for detail in list(details)[:5]:
            print(f"    {detail}")
    raise SystemExit(bool(result.harm))


def parse() -> Options:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interruptions", description=__doc__)
    add = parser.add_argument
    add("--engine", choices=ENGINES, default=usual.engine)
    add("--exceptions", type=int, default=usual.exceptions, help="that hit a request")
    add("--seconds", type=float, default=usual.seconds, help="end earlier, after so many")
    add("--users", type=int, default=usual.users, help="threads or greenlets")
    add("--pool-size", type=int, default=usual.pool_size)
    add("--hang-after", type=float, default=usual.hang_after, help="seconds")
    add("--delay", type=float, default=usual.delay, help="of the links to servers, in seconds")
    add("--gevent", action="store_true", help="interrupt greenlets instead of threads")
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
