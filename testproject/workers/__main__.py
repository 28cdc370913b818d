"""
Read one JSON list per line, [operation, arguments ...], and answer with a JSON object that has a
"result" or an "error".
"""

from __future__ import annotations

import json
import sys

from testproject.workers.operations import OPERATIONS


def main() -> None:
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"result": OPERATIONS[name](*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
