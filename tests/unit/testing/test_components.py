"""Real components: found in the chosen directory, then in PATH; a missing one is an error with its mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.testing import MissingComponent, binary, find


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The directory of KUBEBUILDER_ASSETS, and that of PATH; both empty."""
    chosen, path = tmp_path / "chosen", tmp_path / "path"
    chosen.mkdir()
    path.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(chosen))
    monkeypatch.setenv("PATH", str(path))
    return chosen, path


def executable(path: Path) -> Path:
    path.write_text("")
    path.chmod(0o755)
    return path


def test_the_chosen_directory_comes_before_path(elsewhere: tuple[Path, Path]) -> None:
    chosen, path = elsewhere
    in_path = executable(path / "etcd")
    assert binary("etcd") == in_path
    (chosen / "etcd").write_text("not executable")
    assert find("etcd") == in_path
    executable(chosen / "etcd")
    assert binary("etcd") == chosen / "etcd"


@pytest.mark.parametrize(
    ("component", "mend"),
    [
        ("kube-apiserver", "set KUBEBUILDER_ASSETS to a directory that has it"),
        ("etcd", "set KUBEBUILDER_ASSETS to a directory that has it"),
        ("openssl", "install the package openssl"),
        ("rclone", "install rclone"),
        ("redis-server", "install Redis"),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_a_missing_component_is_named_with_its_mend(component: str, mend: str) -> None:
    assert find(component) is None
    with pytest.raises(MissingComponent, match=f"^{component} is not here: {mend}") as missing:
        binary(component)
    assert missing.value.component == component
