"""Which lease `propeller controller` takes, and what cannot be one."""

from __future__ import annotations

import click
import msgspec
import pytest
from click.testing import CliRunner

from propeller.cli._controller import _with_lease
from propeller.cli.commands._controller import command
from propeller.cli.commands._install import command as install
from propeller.config import EventOptions, LeaseOptions, Settings


def test_the_lease_is_the_same_whatever_the_context() -> None:
    assert (Settings().election.lease_namespace, Settings().election.lease_name) == ("flyte", "propeller-controller")


def test_an_option_names_another_and_keeps_the_times() -> None:
    settings = Settings(election=LeaseOptions(duration=30))
    election = _with_lease(settings, "team-a/mine").election
    assert (election.lease_namespace, election.lease_name, election.duration) == ("team-a", "mine", 30)


@pytest.mark.parametrize("lease", ["mine", "/mine", "team-a/", "a/b/c"])
def test_an_invalid_lease_name_is_refused_before_anything_starts(lease: str) -> None:
    with pytest.raises(click.BadParameter, match="is not NAMESPACE/NAME"):
        _with_lease(Settings(), lease)
    assert CliRunner().invoke(command, ["--lease", lease]).exit_code == 2


@pytest.mark.parametrize(
    ("section", "fields"),
    [(LeaseOptions, {"lease_name": ""}), (EventOptions, {"burst": 0}), (EventOptions, {"delay": 0})],
)
def test_settings_that_cannot_work_are_refused_by_name(section: type, fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(fields))):
        msgspec.convert(fields, section)


def test_rights_for_one_namespace_are_roles_alone() -> None:
    printed = CliRunner().invoke(install, ["--print", "--namespace", "team-a", "--only", "team-a"]).stdout
    assert "ClusterRole" not in printed
    everywhere = CliRunner().invoke(install, ["--print"]).stdout
    assert "kind: ClusterRole\n" in everywhere
    leases = everywhere[everywhere.index("propeller-leases") :]
    assert "leases" not in everywhere[: everywhere.index("propeller-leases")], "no lease of another namespace"
    assert "namespace: flyte" in leases
