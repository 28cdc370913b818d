"""
Django's own tests, which its wheels do not hold: from the sdist of the installed version.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import django

CACHE = Path(__file__).parents[2] / ".cache" / "django"


def tests_folder() -> Path:
    """
    Return the `tests` folder of the installed Django version, fetched by pip if need be.
    """
    version = django.get_version()
    folder = CACHE / version
    if not (folder / "tests" / "sessions_tests").is_dir():
        _fetch(version, folder)
    return folder / "tests"


def _fetch(version: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = f"Django=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), wanted], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, path = member.name.partition("/")
            if path.startswith("tests/sessions_tests/"):
                member.name = path
                tar.extract(member, folder, filter="data")
    archive.unlink()
