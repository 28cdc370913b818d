from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from django_distsession.conf import files

from ..certificates import self_signed


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return self_signed(tmp_path_factory.mktemp("certificate"))


def test_tls_is_verified_unless_a_context_says_otherwise(certificate: tuple[str, str]) -> None:
    path, key = certificate
    for tls in (True, {}, {"CA_FILE": path}, {"CERT_FILE": path, "KEY_FILE": key}):
        context = files.tls_context(tls)
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    own = ssl.create_default_context()
    assert files.tls_context(own) is own
    assert files.tls_context(None) is None


@pytest.mark.parametrize("tls", [{"CA_FILE": __file__}, {"CERT_FILE": __file__}])
def test_tls_files_that_hold_something_else_are_unusable(tls: Any) -> None:
    with pytest.raises(files.Unusable, match="names files that cannot be used"):
        files.tls_context(tls)


def test_a_ca_file_is_looked_into_at_once(certificate: tuple[str, str]) -> None:
    path, _ = certificate
    assert files.ca_file(None) is None
    assert files.ca_file(Path(path)) == path
    with pytest.raises(files.Unusable, match="PEM"):
        files.ca_file(__file__)


def test_design_documents_are_looked_into_at_once(tmp_path: Path) -> None:
    assert files.designs(None) is None
    assert files.designs(tmp_path) == str(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "design.json").write_text("{")
    with pytest.raises(files.Unusable, match="holds a design document that cannot be used"):
        files.designs(tmp_path)
