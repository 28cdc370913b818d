"""
What is wrong in the settings, and how it is said.
"""

from __future__ import annotations

from dataclasses import dataclass

NAME = "DISTSESSION"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something wrong in the settings.

    code: such as "E003". setting: its full name. message: what is wrong and what to write.
    """

    code: str
    setting: str
    message: str


UNKNOWN, BAD_VALUE, IMPOSSIBLE, MISSING = "E001", "E002", "E003", "E004"
BAD_DATABASE, BAD_PATH = "E005", "E006"


def full_name(section: str, key: str = "") -> str:
    """
    Return a setting's name as a user writes it.
    """
    return NAME + "".join(f'["{part}"]' for part in (section, key) if part)
