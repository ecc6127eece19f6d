"""Certificates in files that change while they are in use."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from propeller.errors import Invalid
from propeller.kube import Connection, load_connection
from propeller.kube._tls import TlsSource
from propeller.testing import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> tuple[Pair, Pair]:
    return authority.client("old", "people"), authority.client("new", "people")


class Files:
    """What a kubeconfig names, and a connection that was read from it."""

    def __init__(self, directory: Path, authority: Authority, pair: Pair) -> None:
        self.ca, self.certificate, self.key = directory / "ca", directory / "cert", directory / "key"
        self.ca.write_bytes(authority.pem)
        self.show(pair)
        kubeconfig = directory / "config"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                    "clusters": [{"name": "k", "cluster": {"server": "https://here", "certificate-authority": "ca"}}],
                    "users": [{"name": "u", "user": {"client-certificate": "cert", "client-key": "key"}}],
                }
            )
        )
        self.connection = load_connection(str(kubeconfig))

    def show(self, pair: Pair) -> None:
        self.certificate.write_bytes(pair.certificate.read_bytes())
        self.key.write_bytes(pair.key.read_bytes())


@pytest.fixture
def files(tmp_path: Path, authority: Authority, pairs: tuple[Pair, Pair]) -> Files:
    return Files(tmp_path, authority, pairs[0])


def test_the_files_that_a_kubeconfig_names_are_kept_with_their_content(files: Files) -> None:
    found = files.connection
    assert (found.ca_file, found.client_certificate_file, found.client_key_file) == (
        str(files.ca),
        str(files.certificate),
        str(files.key),
    )
    assert found.client_key == files.key.read_bytes()


def test_inline_certificates_have_no_file() -> None:
    assert Connection(server="https://here", ca=None).ca_file == ""


def test_files_that_do_not_change_are_read_once(files: Files) -> None:
    source = TlsSource(files.connection)
    assert source() is source() is source()


def test_a_new_certificate_is_used_from_the_next_connection_on(files: Files, pairs: tuple[Pair, Pair]) -> None:
    source = TlsSource(files.connection)
    before = source()
    files.show(pairs[1])
    assert source() is not before
    assert source() is source()


def test_a_certificate_that_changed_between_reading_and_connecting_is_seen(
    files: Files, pairs: tuple[Pair, Pair]
) -> None:
    files.show(pairs[1])  # after load_connection
    source = TlsSource(files.connection)
    source()
    assert source._connection.client_key == pairs[1].key.read_bytes()


def test_a_new_authority_is_trusted_and_the_old_one_is_not(files: Files, tmp_path: Path) -> None:
    source = TlsSource(files.connection)
    before = source().get_ca_certs(binary_form=True)
    (tmp_path / "other").mkdir()
    files.ca.write_bytes(Authority(tmp_path / "other", "other").pem)
    after = source().get_ca_certs(binary_form=True)
    assert len(before) == len(after) == 1
    assert before != after


def test_a_link_that_is_turned_as_mounted_secrets_are_is_seen(
    tmp_path: Path, authority: Authority, pairs: tuple[Pair, Pair]
) -> None:
    for name, pair in zip(("one", "two"), pairs, strict=True):
        (tmp_path / name).mkdir()
        shutil.copy(pair.certificate, tmp_path / name / "tls.crt")
        shutil.copy(pair.key, tmp_path / name / "tls.key")
    data = tmp_path / "data"
    data.symlink_to("one")
    source = TlsSource(
        Connection(
            server="https://here",
            ca=authority.pem,
            client_certificate=(data / "tls.crt").read_bytes(),
            client_key=(data / "tls.key").read_bytes(),
            client_certificate_file=str(data / "tls.crt"),
            client_key_file=str(data / "tls.key"),
        )
    )
    before = source()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(data)
    assert source() is not before
    assert source._connection.client_key == pairs[1].key.read_bytes()


def half_written(files: Files, new: Pair) -> None:
    files.certificate.write_bytes(new.certificate.read_bytes()[:100])


def certificate_without_its_key(files: Files, new: Pair) -> None:
    files.certificate.write_bytes(new.certificate.read_bytes())


def gone(files: Files, _: Pair) -> None:
    files.certificate.unlink()


@pytest.mark.parametrize("break_", [half_written, certificate_without_its_key, gone])
def test_while_files_do_not_fit_together_the_last_that_did_are_used_and_one_warning_says_so(
    files: Files, pairs: tuple[Pair, Pair], break_: Callable[[Files, Pair], None], caplog: pytest.LogCaptureFixture
) -> None:
    source = TlsSource(files.connection)
    before = source()
    break_(files, pairs[1])
    with caplog.at_level(logging.WARNING):
        assert source() is before
    assert "https://here have changed and cannot be used yet" in caplog.text
    files.show(pairs[1])
    assert source() is not before
    assert source._connection.client_key == pairs[1].key.read_bytes()


def test_certificates_that_cannot_be_used_at_the_start_are_invalid(files: Files, pairs: tuple[Pair, Pair]) -> None:
    certificate_without_its_key(files, pairs[1])
    broken = load_connection(str(files.ca.parent / "config"))
    with pytest.raises(Invalid, match="client certificate or key for https://here is not usable"):
        TlsSource(broken)
