"""Tasks that are cached, as flytekit writes them: `propeller run` on this machine."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propeller.testing import PostgresqlServer, S3Server, free_ports
from tests.e2e.conftest import EXAMPLES, Propeller, locally

Flow = Callable[[str], Path]

pytestmark = pytest.mark.needs("embedded", "flytekit")

PAGE = Path(__file__).parents[2] / "docs" / "caching.md"
OUTPUTS = {"o0": 9, "o1": [5, 10, 15], "o2": "NUMBER 3", "o3": 16}


def run(propeller: Propeller, *words: str | Path, **env: str) -> tuple[Any, list[str]]:
    """The outputs, and what tasks have printed about computing."""
    ended = propeller.run(*words, "--output", "json", **env)
    return ended.json, sorted(re.findall(r"(?:computing|naming)[^\n]*", ended.err))


def test_everything_that_is_cached_runs_once_and_the_rest_each_time(propeller: Propeller) -> None:
    first, computed = run(propeller, EXAMPLES / "caching.py", "caching")
    assert first == OUTPUTS == locally(EXAMPLES / "caching.py", "caching")
    assert len(computed) == 8
    assert run(propeller, EXAMPLES / "caching.py", "caching") == (OUTPUTS, ["naming 3"])


def test_other_inputs_are_computed_and_what_is_the_same_of_them_is_not(propeller: Propeller) -> None:
    run(propeller, EXAMPLES / "caching.py", "caching")
    outputs, computed = run(propeller, EXAMPLES / "caching.py", "caching", "--n", "4")
    assert outputs == {"o0": 16, "o1": [5, 10, 15], "o2": "NUMBER 3", "o3": 25}  # the text's hash is its length
    assert computed == ["computing the square of 5", "computing what to add", "naming 4"]


def test_a_run_that_overwrites_the_cache_computes_all_of_it(propeller: Propeller) -> None:
    run(propeller, EXAMPLES / "caching.py", "caching")
    assert len(run(propeller, EXAMPLES / "caching.py", "caching", "--overwrite-cache")[1]) == 8


def test_over_s3_too(propeller: Propeller, s3: S3Server) -> None:
    words = (EXAMPLES / "caching.py", "caching", "--storage", f"s3://{s3.bucket()}/flows")
    assert len(run(propeller, *words, **s3.environment)[1]) == 8
    assert run(propeller, *words, **s3.environment) == (OUTPUTS, ["naming 3"])


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
def test_in_a_database_too(propeller: Propeller, backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    env = {"PROPELLER_CATALOG__BACKEND": f"sqlite://{tmp_path}/cache.db"}
    if backend == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgres")
        env = {"PROPELLER_CATALOG__BACKEND": server.url, "PROPELLER_CATALOG__USERNAME": server.username}
        env["PROPELLER_CATALOG_PASSWORD"] = server.password
    words = (EXAMPLES / "caching.py", "caching")
    assert len(run(propeller, *words, **env)[1]) == 8
    assert run(propeller, *words, **env) == (OUTPUTS, ["naming 3"])
    listed = propeller("cache", "ls", "--output", "json", **env).json["tasks"]
    assert {"task": "flytesnacks/development/caching.square", "entries": 2} in listed
    place = env["PROPELLER_CATALOG__BACKEND"]
    without = {name: value for name, value in env.items() if not name.endswith("BACKEND")}
    (entry, _) = propeller("cache", "ls", "caching.square", "--prefix", place, "--output", "json", **without).json[
        "entries"
    ]
    assert entry["origin"]["key"]["task"] == "caching.square"
    assert "2 entries" in propeller("cache", "rm", "caching.square", **env).out
    assert run(propeller, *words, **env)[1] == ["computing the square of 3", "naming 3"]
    assert "nothing of" not in propeller("cache", "ls", "caching.square", **env).out


def test_settings_do_not_show_a_password_that_a_backend_must_not_have(propeller: Propeller) -> None:
    ended = propeller("settings", PROPELLER_CATALOG__BACKEND="postgresql://me:hunter2@host/db")
    assert "write the user to username" in ended.err
    assert "hunter2" not in ended.err + ended.out


def test_a_database_that_is_down_fails_no_run_and_a_command_that_needs_it(propeller: Propeller) -> None:
    env = {"PROPELLER_CATALOG__BACKEND": f"postgresql://127.0.0.1:{free_ports(1)[0]}/none"}
    outputs, computed = run(propeller, EXAMPLES / "caching.py", "caching", **env)
    assert outputs == OUTPUTS
    assert len(computed) == 8
    ended = propeller("cache", "ls", **env)
    assert ended.code != 0
    assert "the cache in postgresql://127.0.0.1" in ended.err


def test_a_file_that_is_gone_is_made_again(propeller: Propeller, flow: Flow) -> None:
    file = flow(
        "from flytekit.types.file import FlyteFile\n"
        "@task(cache=True, cache_version='1')\ndef write(n: int) -> FlyteFile:\n"
        "    print('computing')\n    open('out.txt', 'w').write(str(n))\n    return FlyteFile('out.txt')\n"
        "@task\ndef read(f: FlyteFile) -> str:\n    return open(f).read()\n"
        "@workflow\ndef wf(n: int = 3) -> str:\n    return read(f=write(n=n))\n"
    )
    assert run(propeller, file, "wf") == ({"o0": "3"}, ["computing"])
    assert run(propeller, file, "wf") == ({"o0": "3"}, [])
    (made,) = [path for path in (propeller.home / "state").rglob("out.txt") if path.read_text() == "3"]
    made.unlink()
    assert run(propeller, file, "wf") == ({"o0": "3"}, ["computing"])


def test_a_node_overrides_its_task(propeller: Propeller, flow: Flow) -> None:
    file = flow(
        "@task(cache=True, cache_version='1')\ndef t(n: int) -> int:\n    print('computing')\n    return n\n"
        "@workflow\ndef wf(n: int = 3) -> int:\n    return t(n=n).with_overrides(cache=False)\n"
        "@workflow\ndef other(n: int = 3) -> int:\n"
        "    return t(n=n).with_overrides(cache=True, cache_version='2')\n"
    )
    assert [run(propeller, file, "wf")[1] for _ in range(2)] == [["computing"]] * 2
    assert [run(propeller, file, "other")[1] for _ in range(2)] == [["computing"], []]


def test_the_page_says_what_happens(propeller: Propeller) -> None:
    """The flow of docs/caching.md, and the commands about its entries."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = propeller.home / "flow.py"
    file.write_text(code)
    assert [run(propeller, file, "wf")[1] for _ in range(2)] == [["computing"], []]
    listed = propeller("cache", "ls", "--output", "json").json
    assert listed == {"tasks": [{"task": "flytesnacks/development/flow.square", "entries": 1}], "more": False}
    listed = propeller("cache", "ls", "flow.square", "--output", "json").json
    assert listed["more"] is False
    (entry,) = listed["entries"]
    assert entry["origin"]["attempt"] == 1, "as people count"
    assert entry["origin"]["key"]["version"] == "1"
    assert entry["origin"]["node"] == "n0"
    kept = propeller("cache", "rm", "flow.square", "--older-than", "1h", "--output", "json").json
    assert kept == {"removed": [], "wouldRemove": [], "more": False}
    assert "1 entries" in propeller("cache", "rm", "flow.square").out
    assert propeller("cache", "ls").out == "nothing is cached\n"
    assert run(propeller, file, "wf")[1] == ["computing"]


def test_a_resource_says_that_the_cache_is_overwritten(propeller: Propeller) -> None:
    words = ("compile", EXAMPLES / "caching.py", "caching", "--overwrite-cache", "--python", sys.executable)
    assert json.loads(propeller(*words).out)["executionConfig"]["OverwriteCache"] is True
