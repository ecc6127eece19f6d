"""Task plugins of others: which runs a task, and what becomes of one that is wrong."""

from __future__ import annotations

import logging
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import (
    DEFAULT_GRACE,
    ENTRY_POINTS,
    POD,
    PluginFailed,
    Plugins,
    PodSettings,
    TaskPlugin,
    load_plugins,
)
from propeller.handlers.plugins._registry import _entry_points
from propeller.workflow import AttemptObserved, AttemptPhase, ExecutionSpec, Failure, NodeView, Remains
from tests.unit.handlers import plugins_of_others as others
from tests.unit.handlers.build import World, graph, literals, task, template

SETTINGS = PodSettings(raw_output_prefix="s3://raw")
MODULE = others.__name__


def point(value: str, name: str = "thing") -> EntryPoint:
    return EntryPoint(name, value if ":" in value else f"{MODULE}:{value}", ENTRY_POINTS)


def guarded(plugin: TaskPlugin, monkeypatch: pytest.MonkeyPatch) -> TaskPlugin:
    """The plugin as the controller uses it."""
    monkeypatch.setattr(others, "GOOD", plugin)
    (_, loaded) = load_plugins([point("GOOD")])
    return loaded


def node_of(task_type: str = "thing", spec: ExecutionSpec = ExecutionSpec()) -> NodeView:  # noqa: B008 - frozen
    return World(graph(task("n0")), {"t": template(type=task_type)}, spec=spec).node("n0")


def thing(phase: str = "", *, deleted: bool = False, **metadata: Any) -> others.Thing:
    more = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {}
    body = {"metadata": {"name": "e-n0-0", "namespace": "ns", **more, **metadata}, "status": {"phase": phase}}
    return msgspec.convert(body, others.Thing)


def test_a_type_that_no_plugin_declares_runs_as_a_pod() -> None:
    plugins = load_plugins([point("GOOD")])
    assert plugins.of(node_of("python-task")) is plugins.of(node_of("anything")) is POD
    assert Plugins().of(node_of("thing")) is POD
    assert [plugin.resource for plugin in plugins] == [POD.resource, others.THINGS]
    assert (plugins.is_pod("thing"), plugins.is_pod("python-task")) == (False, True)


def test_a_plugin_with_several_types_is_one_plugin_however_often_it_is_named() -> None:
    plugins = load_plugins([point("OTHER"), point("OTHER", "other")])
    assert plugins.of(node_of("thing")) is plugins.of(node_of("other"))
    assert len(list(plugins)) == 2


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:PLUGIN", "ModuleNotFoundError"),
        ("NO_SUCH_NAME", "AttributeError"),
        ("tests.unit.handlers.exits_when_imported:PLUGIN", "SystemExit: this machine is not for it"),
        ("Things", "a class: name an object of it"),
        ("INCOMPLETE", "a WithoutObserve without build, observe, missing, is_alive, has_ended, grace_of"),
        ("NOTHING", "it is no TaskPlugin, but a NoneType"),
        ("TEXT_TYPES", "task_types must be a collection"),
        ("NUMBER_TYPES", "task_types must be a collection"),
        ("PYTHON", r"its task_types name \['python-task'\], which propeller runs itself"),
        ("ASYNC", "its observe may not be async"),
        ("SERVICE", "it makes no resource: a plugin of a remote service is a RemotePlugin"),
        ("JSON", "must be a KubeObject, and is dict"),
        ("CLUSTER_WIDE", "nodes is cluster-wide"),
        ("UNDECODABLE", "name 'NoSuchType' is not defined"),
        ("TEXT_RESOURCE", "must be a propeller.kube.Resource, and is a str"),
    ],
)
def test_tasks_of_a_plugin_that_cannot_be_used_fail_by_name_and_no_others(
    value: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        plugins = load_plugins([point(value)])
    with pytest.raises(
        PluginFailed,
        match=rf"task mod.Task of type 'thing': plugin thing \({MODULE if ':' not in value else ''}.*{why}",
    ) as raised:
        plugins.of(node_of())
    assert raised.value.kind is ErrorKind.SYSTEM
    assert len([record for record in caplog.records if "plugin thing (" in record.getMessage()]) == 1
    assert plugins.of(node_of("python-task")) is POD
    assert not plugins.is_pod("thing")


def test_an_entry_point_whose_name_is_none_of_its_plugins_types_is_wrong() -> None:
    plugins = load_plugins([point("GOOD", "thimg")])
    with pytest.raises(PluginFailed, match=r"'thimg', which is not among its task_types \['thing'\]"):
        plugins.of(node_of("thimg"))


def test_a_plugin_cannot_take_python_tasks_away() -> None:
    plugins = load_plugins([point("PYTHON", "python-task")])
    assert plugins.of(node_of("python-task")) is POD


def test_a_type_that_two_plugins_declare_is_run_by_neither_and_their_other_types_are() -> None:
    plugins = load_plugins([point("GOOD"), point("OTHER"), point("OTHER", "other")])
    with pytest.raises(
        PluginFailed, match=r"declared by plugins other \(.*OTHER\) and thing \(.*GOOD\): uninstall all"
    ):
        plugins.of(node_of())
    assert plugins.of(node_of("other")).resource is others.THINGS
    view = node_of()
    assert not any(plugins.runs(plugin, view.execution, view.number) for plugin in plugins)


def test_a_resource_is_found_again_whatever_metadata_its_plugin_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    built = guarded(others.Things(), monkeypatch).build(node_of(), 2, literals(), SETTINGS)
    pod = POD.build(node_of(), 2, literals(), SETTINGS)
    assert (built["apiVersion"], built["kind"]) == ("example.org/v1", "Thing")
    for part in ("name", "namespace", "ownerReferences"):
        assert built["metadata"][part] == pod["metadata"][part]
    assert built["metadata"]["labels"] == pod["metadata"]["labels"] | {"own": "label"}
    ours = {key: text for key, text in pod["metadata"]["annotations"].items() if key.startswith("propeller/")}
    assert built["metadata"]["annotations"] == ours


def test_a_pod_template_is_the_pod_without_what_says_which_attempt_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    template = guarded(others.Things(), monkeypatch).build(node_of(), 0, literals(), SETTINGS)["spec"]["template"]
    pod = POD.build(node_of(), 0, literals(), SETTINGS)
    assert template["spec"] == pod["spec"]
    assert template["metadata"].keys() == {"labels", "annotations"}
    assert not [key for key in template["metadata"]["annotations"] if key.startswith("propeller/")]


def test_a_pod_template_is_checked_by_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"hostPID": True, "containers": [{"name": "main", "image": "image"}]}
    of = template(type="thing", k8sPod={"podSpec": spec}, config={"primary_container_name": "main"})
    node = World(graph(task("n0")), {"t": of}).node("n0")
    with pytest.raises(Invalid, match=r"spec\.hostPID"):
        guarded(others.Things(), monkeypatch).build(node, 0, literals(), SETTINGS)


def test_a_task_whose_execution_insists_on_another_plugin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = guarded(others.Things(), monkeypatch)
    for ids, runs in ((["thing"], True), (["special"], False)):
        impls = {"TaskPluginImpls": {"thing": {"PluginIDs": ids, "MissingPluginBehavior": 0}}}
        spec = msgspec.convert({"executionConfig": impls}, ExecutionSpec)
        if runs:
            plugin.build(node_of(spec=spec), 0, literals(), SETTINGS)
        else:
            with pytest.raises(Invalid, match=r"asks for plugin special .* which plugin thing runs here"):
                plugin.build(node_of(spec=spec), 0, literals(), SETTINGS)


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        (others.RaisesInBuild(), "build raised ZeroDivisionError: no build"),
        (others.BuildsNothing(), "build returned None, and not a resource as a dict"),
        (others.BuildsLabelsOfNumbers(), "build returned metadata.labels that are no dict of texts"),
        (
            others.BuildsObjects(),
            "build returned what cannot be written as JSON: Type is not JSON serializable: object",
        ),
    ],
)
def test_a_build_that_goes_wrong_is_the_systems_and_names_plugin_and_task(
    plugin: TaskPlugin, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PluginFailed, match=rf"task mod.Task: plugin thing \(.*GOOD\): {why}") as raised:
        guarded(plugin, monkeypatch).build(node_of(), 0, literals(), SETTINGS)
    assert raised.value.kind is ErrorKind.SYSTEM


def test_what_build_refuses_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="size must be over 0"):
        guarded(others.RefusesInBuild(), monkeypatch).build(node_of(), 0, literals(), SETTINGS)


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        (others.RaisesInObserve(), "observe raised KeyError: 'no observe'"),
        (others.ObservesText(), "observe returned a str, and not an AttemptObserved"),
        (others.FailsWithoutAReason(), "observe says FAILED, and not why"),
        (
            others.ObservesSomethingElse(phase=17),
            "observe returned an AttemptObserved that is none: Invalid enum value 17",
        ),
        (
            others.ObservesSomethingElse(phase="running"),
            "observe returned an AttemptObserved that is none: Expected `int`",
        ),
        (
            others.ObservesSomethingElse(failure="bad"),
            "observe returned an AttemptObserved that is none: Expected `object",
        ),
        (others.ObservesSomethingElse(reason=None), "observe returned an AttemptObserved that is none: Expected `str`"),
        (
            others.ObservesSomethingElse(reason=object()),
            "observe returned an AttemptObserved that is none: Encoding objects",
        ),
        (
            others.ObservesSomethingElse(since=float("nan")),
            "observe returned an AttemptObserved that is none: Expected",
        ),
        (others.SaysGone(), "observe says GONE of a resource that is there"),
    ],
)
def test_an_observe_that_goes_wrong_fails_its_attempt_as_the_systems_and_names_plugin_and_resource(
    plugin: TaskPlugin, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = guarded(plugin, monkeypatch).observe(thing("Running"), 3)
    assert seen is not None
    assert (seen.attempt, seen.phase) == (3, AttemptPhase.FAILED)
    assert seen.failure is not None
    assert (seen.failure.code, seen.failure.kind, seen.failure.recoverable) == ("PluginFailed", ErrorKind.SYSTEM, False)
    assert seen.failure.message.startswith(f"plugin thing ({MODULE}:GOOD): {why}")
    assert seen.failure.message.endswith(", of Thing ns/e-n0-0")
    assert len(caplog.records) == 1


def test_what_runs_of_an_attempt_whose_observe_raises_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = guarded(others.RaisesInObserve(), monkeypatch)
    seen = plugin.observe(thing(), 0)
    assert seen is not None
    assert seen.remains is Remains.RUNNING
    assert plugin.is_alive(thing())
    assert not plugin.is_alive(thing(deleted=True))
    assert not plugin.has_ended(thing())


def test_a_plugin_that_knows_nothing_yet_has_a_pending_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = guarded(others.Things(), monkeypatch)
    assert plugin.observe(thing(), 0) == AttemptObserved(0, AttemptPhase.PENDING)
    assert plugin.is_alive(thing())


def test_the_attempt_is_that_of_the_name_whatever_a_plugin_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded(others.OfAnotherAttempt(), monkeypatch).observe(thing(), 1) == AttemptObserved(
        1, AttemptPhase.RUNNING
    )


@pytest.mark.parametrize(
    ("phase", "alive", "ended", "grace"),
    [
        ("", True, False, DEFAULT_GRACE),
        ("Running", True, False, DEFAULT_GRACE),
        ("Succeeded", False, True, 0.0),
        ("Failed", False, True, 0.0),
    ],
)
def test_what_is_alive_and_what_has_ended_follows_from_observe(
    phase: str, alive: bool, ended: bool, grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = guarded(others.Things(), monkeypatch)
    found = thing(phase)
    assert (plugin.is_alive(found), plugin.has_ended(found), plugin.grace_of(found)) == (alive, ended, grace)


def test_a_resource_that_is_being_deleted_may_still_succeed_in_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = guarded(others.Things(), monkeypatch)
    ending = AttemptObserved(0, AttemptPhase.RUNNING, remains=Remains.ENDING, grace=DEFAULT_GRACE)
    assert plugin.observe(thing("Running", deleted=True), 0) == ending
    assert plugin.observe(thing("Succeeded", deleted=True), 0) == AttemptObserved(0, AttemptPhase.SUCCEEDED)
    assert not plugin.is_alive(thing("Running", deleted=True))


def test_a_resource_that_is_gone_is_the_systems_fault_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for plugin in (others.Things(), others.RaisesInTheRest()):
        seen = guarded(plugin, monkeypatch).missing("e-n0-0", 2)
        failure = Failure(
            "ResourceDeletedExternally",
            "Thing e-n0-0 is gone before its end was seen: somebody deleted it",
            ErrorKind.SYSTEM,
            recoverable=True,
            attempt=2,
        )
        assert seen == AttemptObserved(2, AttemptPhase.GONE, failure=failure)


def test_whatever_else_raises_has_an_answer_that_stops_what_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = guarded(others.RaisesInTheRest(), monkeypatch)
    found = thing("Running")
    assert (plugin.is_alive(found), plugin.has_ended(found), plugin.grace_of(found)) == (True, False, DEFAULT_GRACE)


def package(path: Path, name: str, entry_points: str) -> Distribution:
    """The metadata of an installed package."""
    folder = path / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(entry_points)
    return Distribution.at(folder)


def test_a_package_whose_metadata_is_damaged_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = package(tmp_path, "good", f"[{ENTRY_POINTS}]\nthing = {MODULE}:GOOD\n")
    bad = package(tmp_path, "bad", f"[{ENTRY_POINTS}]\nthis is no entry point\n")
    plugins = load_plugins(_entry_points([bad, good]))
    assert plugins.of(node_of()).resource is others.THINGS
    (record,) = caplog.records
    assert record.getMessage().startswith("task plugins of a package cannot be found, as its metadata is damaged: ")


def test_of_two_packages_of_one_name_the_first_counts_and_is_named(tmp_path: Path) -> None:
    first = package(tmp_path / "a", "plug", f"[{ENTRY_POINTS}]\nthing = {MODULE}:GOOD\n")
    second = package(tmp_path / "b", "plug", f"[{ENTRY_POINTS}]\nthing = {MODULE}:OTHER\n")
    plugins = load_plugins(_entry_points([first, second]))
    assert plugins.of(node_of()).task_types == {"thing"}
    (found,) = _entry_points([package(tmp_path / "c", "plug", f"[{ENTRY_POINTS}]\nthing = {MODULE}:NOTHING\n")])
    with pytest.raises(PluginFailed, match=rf"plugin thing \({MODULE}:NOTHING of plug 1\.0\) cannot be used"):
        load_plugins([found]).of(node_of())
