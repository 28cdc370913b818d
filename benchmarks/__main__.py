"""
Measure and print.

Whatever is to be compared is measured in one run and in alternation, so that what else the
machine does hits all alike. Absolute times say little on another machine; ratios do.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from django.conf import settings

from benchmarks import crowd, garbage, hung_node, hung_tail, ratios, repair, report
from benchmarks.contenders import CONTENDERS, POSTGRESQL
from benchmarks.environment import describe
from benchmarks.measuring import measure
from benchmarks.options import parse
from benchmarks.postgresql import running_postgresql
from benchmarks.running import running_servers
from benchmarks.site import benchmark_site

# What is long enough for pauses between probes to pass.
SECONDS_PER_ROUND = 0.25


def main() -> None:
    options = parse()
    with (
        running_servers() as servers,
        running_postgresql() as postgresql,
        benchmark_site(servers, postgresql),
        ExitStack() as stack,
    ):
        if postgresql is None and POSTGRESQL in options.contenders:
            print(f"{POSTGRESQL} is left out: it takes PostgreSQL and psycopg.")
            options.contenders.remove(POSTGRESQL)
        environment = describe(servers, rounds=options.rounds, batch=options.batch)
        contenders = {
            name: stack.enter_context(CONTENDERS[name](servers)) for name in options.contenders
        }
        results = measure(contenders, rounds=options.rounds, batch=options.batch)
        verdicts = ratios.judge(results)
        hung = tail = None
        if hung_node.CONTENDER in options.contenders:
            hung = hung_node.measure(servers.nodes, rounds=options.rounds, batch=options.batch)
            seconds = options.rounds * SECONDS_PER_ROUND
            tail = hung_tail.measure(servers.nodes, settings.DISTSESSION, seconds=seconds)
            verdicts += [hung.verdict, tail.verdict]
        if "couchdb" in options.contenders:
            url, database = servers.couchdb.url, servers.database
            verdicts += garbage.measure(url, database, rounds=options.rounds, batch=options.batch)
        crowded = None
        if crowd.CONTENDER in options.contenders:
            crowded = crowd.measure(rounds=options.rounds, batch=options.batch)
            verdicts.append(crowded.verdict)
            addresses = servers.addresses
            verdicts += repair.measure(addresses, rounds=options.rounds, batch=options.batch)
    print(report.as_text(environment, results, verdicts, hung, tail, crowded))
    if options.json:
        document = report.as_document(environment, results, verdicts, hung, tail, crowded)
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
