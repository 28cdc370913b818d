from __future__ import annotations

import ssl
from typing import Any

import pytest

from django_distsession.conf import rules


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (rules.boolean, False),
        (rules.seconds, 0.001),
        (rules.not_negative, 0),
        (rules.count, 1),
        (rules.whole_seconds, 0),
        (rules.text, " "),
        (rules.password, "ü"),
        (rules.optional(rules.count), None),
        (rules.one_of("raise", "anonymous"), "anonymous"),
        (rules.namespace, "!" * 100),
        (rules.dotted_path, "package.name"),
        (rules.servers, ("localhost:1", "[fe80::1%eth0]:65535", "/run/m.sock", "unix:/run/m.sock")),
        (rules.url, "http://user:p%2Fss@[::1]:5984/prefix"),
        (rules.urls, "https://db.example"),
        (rules.urls, ["http://a:5984", "http://b:5984"]),
        (rules.file, __file__),
        (rules.tls, True),
        (rules.tls, {}),
        (rules.tls, {"CERT_FILE": __file__}),
        (rules.tls, ssl.create_default_context()),
    ],
)
def test_what_may_be_written_is_accepted(rule: rules.Rule, value: Any) -> None:
    assert rule(value) is None


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (rules.boolean, 1),
        (rules.seconds, True),
        (rules.seconds, float("nan")),
        (rules.seconds, float("inf")),
        (rules.not_negative, -0.001),
        (rules.count, True),
        (rules.whole_seconds, 1.0),
        (rules.text, ""),
        (rules.password, "half a pair: \ud800"),
        (rules.optional(rules.count), 0),
        (rules.one_of("raise", "anonymous"), None),
        (rules.namespace, "!" * 101),
        (rules.namespace, "ü"),
        (rules.dotted_path, "name"),
        (rules.servers, ["localhost:65536"]),
        (rules.servers, ["::1:11211"]),
        (rules.url, "http://user:p/ss@db.example:5984"),
        (rules.urls, []),
        (rules.file, "."),
        (rules.folder, __file__),
        (rules.tls, False),
        (rules.tls, {"CERT": __file__}),
    ],
)
def test_what_may_not_be_written_is_told_what_may(rule: rules.Rule, value: Any) -> None:
    assert rule(value)


def test_a_rule_that_allows_none_says_so() -> None:
    assert rules.optional(rules.count)(0) == "a whole number, 1 or more, or None"
