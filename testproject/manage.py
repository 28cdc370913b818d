"""
Django's commands for the demo site: `python testproject/manage.py <command>`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    # Python looks for modules in the script's own folder; the package is one above.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    main()
