"""A table in a file is followed without a restart; what is wrong with a new one leaves the old one in force."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid
from propeller.informers import InformerOptions
from propeller.kube import Client
from propeller.routing import InvalidTable, LiveTable, RoutingOptions, Table
from propeller.testing import eventually

DEADLINE = 60.0


def text(*names: str) -> str:
    clusters = "".join(f"  - {{name: {name}, connection: {{context: {name}}}}}\n" for name in names)
    return f"clusters:\n{clusters}pools: [{{name: all, selector: ''}}]\nrules: [{{name: any, pool: all}}]\n"


class Following:
    def __init__(self, path: Path, client: Client) -> None:
        self.tables: list[Table] = []
        self.refused: list[str] = []
        self.live = LiveTable(
            client,
            RoutingOptions(file=str(path), file_interval=0.1),
            InformerOptions(),
            LoopClock(),
            changed=self.tables.append,
            refused=lambda table, error: self.refused.append(str(error)),
        )

    @property
    def clusters(self) -> list[str]:
        """In force."""
        assert self.live.table is self.tables[-1]
        return list(self.live.table.clusters)


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[Following]:
    async with ApiServer() as server:
        found = Following(path, Client(server.transport()))
        async with found.live.following(DEADLINE):
            yield found


async def test_a_change_of_the_file_is_in_force_and_a_wrong_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(text("a"))
    async with following(path) as found:
        assert found.clusters == ["a"]
        path.write_text(text("a", "b"))
        await eventually(lambda: found.clusters == ["a", "b"], deadline=DEADLINE)
        path.write_text(text("a", "b").replace("pool: all", "pool: al"))
        await eventually(lambda: bool(found.refused), deadline=DEADLINE)
        assert found.clusters == ["a", "b"]
        assert found.live.is_refused()
        problem = f"{path}: line 5, column 21: rules[0].pool: there is no pool 'al'; did you mean 'all'?"
        assert found.refused == [problem]
        assert caplog.text.count("the routing table stays as it was") == 1
        path.write_text(text("c"))
        await eventually(lambda: found.clusters == ["c"], deadline=DEADLINE)
        assert not found.live.is_refused()


async def test_a_file_that_goes_leaves_its_table_in_force_and_is_followed_when_it_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(text("a"))
    async with following(path) as found:
        path.unlink()
        await eventually(lambda: bool(found.refused), deadline=DEADLINE)
        assert found.clusters == ["a"]
        assert found.live.is_refused()
        path.write_text(text("b"))
        await eventually(lambda: found.clusters == ["b"], deadline=DEADLINE)
        assert not found.live.is_refused()
        assert found.refused == [f"{path} cannot be read: No such file or directory"]


async def test_a_configmap_that_is_mounted_is_followed_through_its_symbolic_links(tmp_path: Path) -> None:
    """The kubelet swaps the link `..data` to a new directory: the file's own link does not change."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "routes.yaml").write_text(text(name))
        os.utime(tmp_path / name / "routes.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")
    async with following(tmp_path / "routes.yaml") as found:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "..data")
        await eventually(lambda: found.clusters == ["two"], deadline=DEADLINE)


@pytest.mark.parametrize("content", [None, "x: y"])
async def test_a_controller_does_not_start_with_a_file_that_is_no_table(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "routes.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Invalid if content is None else InvalidTable, match=str(path)):
        async with following(path):
            raise AssertionError("entered")


async def test_a_file_that_does_not_change_is_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "routes.yaml"
    path.write_text(text("a"))
    async with following(path) as found:
        path.with_name("other").write_text("x")
        path.write_text(text("b"))
        await eventually(lambda: found.clusters == ["b"], deadline=DEADLINE)
        assert len(found.tables) == 2
