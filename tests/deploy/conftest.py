"""The image's root file system, built once for all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]


class Image(msgspec.Struct, frozen=True):
    """The directory that deploy/Dockerfile makes an image of."""

    root: Path

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(path.lstat().st_size for path in self.root.rglob("*") if not path.is_dir())

    @property
    def packages(self) -> Path:
        """Where Python finds its packages."""
        (found,) = self.root.glob("**/site-packages")
        return found


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Image:
    """Built by the script that the Dockerfile runs."""
    if shutil.which("strip") is None and os.environ.get("CI") != "true":
        pytest.skip("strip is not here; install the package binutils")
    root = tmp_path_factory.mktemp("image") / "root"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [ROOT / "deploy" / "image" / "build.sh", root],
        env=environment | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Image(root)
