from __future__ import annotations

from pathlib import Path

import pytest

from django_distsession.conf import full_name
from django_distsession.conf.options import REQUIRED, SCHEMA, Option

OPTIONS = {
    full_name(section, key): option
    for section, options in SCHEMA.items()
    for key, option in options.items()
}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_default_is_what_its_own_rule_accepts(option: Option) -> None:
    assert option.default is REQUIRED or option.rule(option.default) is None


def test_what_may_hold_a_password_stays_wrapped() -> None:
    assert {option.key for option in OPTIONS.values() if option.secret} == {
        "PASSWORD",
        "URL",
        "ADMIN_URL",
    }


def test_the_docs_have_every_setting() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert [name for name, option in OPTIONS.items() if f"`{option.key}`" not in docs] == []
