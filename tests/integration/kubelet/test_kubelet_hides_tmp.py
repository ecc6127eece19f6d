"""A volume at a directory that has the kubelet's own hides what the machine has there, and not what the pod needs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("place", ["short", "long"])
async def test_a_directory_at_tmp_hides_the_machines_files_and_not_what_the_pod_needs(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path, place: str
) -> None:
    """As pod templates for read-only root file systems have it."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "own.py").write_text("print('own', flush=True)\n")
    settings = msgspec.structs.replace(settings, project=str(project))
    volumes, mounts = [{"name": "data", "emptyDir": {}}], [{"name": "data", "mountPath": "/tmp/"}]
    script = 'ls /tmp > /tmp/x; touch "$TMPDIR/y"; python own.py; cat own.py "$PWD/own.py" /tmp/x'
    with tempfile.TemporaryDirectory(prefix="propeller-", dir="/tmp") as directory, tempfile.NamedTemporaryFile() as no:
        workdir = Path(directory, "below" * 10) if place == "long" else Path(directory)
        async with Kubelet(cluster, settings=settings, workdir=workdir) as cluster.kubelet:
            await cluster.create("p", "sh", "-c", script, volumes=volumes, volumeMounts=mounts)
            await cluster.over("p")
            printed, source, same, *shown = (await cluster.log("p")).splitlines()
        assert (printed, source, same) == ("own", "print('own', flush=True)", "print('own', flush=True)")
        assert Path(directory).name in shown
        assert Path(no.name).name not in shown
    assert not Path("/tmp/x").exists()
