"""The pod of a raw container: FlyteCopilot's containers and volumes beside the program, as in FlytePropeller 1.16."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from flyteidl.core import interface_pb2

from propeller.config import PodDefaults, RawContainerOptions
from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import POD, PodSettings
from propeller.handlers.plugins.pod import report
from propeller.handlers.plugins.pod._dataloader import DOWNLOADER, UPLOADER
from propeller.handlers.plugins.pod._loaded import uploader_waits
from propeller.handlers.transitions._task import task_transition
from propeller.kube import Pod
from propeller.workflow import AttemptPhase, Continue, Expire, Running, StartAttempt, Stay, TimerFired, Transition
from tests.unit.handlers.build import template
from tests.unit.handlers.pods import container, ended, pod
from tests.unit.handlers.test_failures import NOW, node_of
from tests.unit.handlers.test_pod import pod_of

SETTINGS = PodSettings(
    raw_output_prefix="s3://raw",
    raw_containers=RawContainerOptions(image="propeller:1"),
    s3_endpoint="http://s3",
    defaults=PodDefaults(secrets="propeller"),
)


def raw(
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    command: tuple[str, ...] = ("run",),
    fields: dict[str, Any] | None = None,
    **config: Any,
) -> dict[str, Any]:
    """flytekit's ContainerTask. `config` is of its data loading, `fields` are the task's own."""
    of = template(
        outputs=outputs,
        type="raw-container",
        container={"image": "alpine", "command": list(command), "dataConfig": {"enabled": True, **config}},
        **(fields or {}),
    )
    of["interface"]["inputs"] = {"variables": {name: {"type": {"simple": "INTEGER"}} for name in inputs}}
    return of


BOTH: dict[str, Any] = {"inputPath": "/var/inputs", "outputPath": "/var/outputs"}


def spec_of(of: dict[str, Any], settings: PodSettings = SETTINGS) -> dict[str, Any]:
    found: dict[str, Any] = pod_of(of, settings=settings, inputs={"x": 1, "y": 2})["spec"]
    return found


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_the_uploader_comes_first_and_the_downloader_last() -> None:
    spec = spec_of(raw(("x",), ("o0",), **BOTH))
    uploader, downloader = spec["initContainers"]
    assert (uploader["name"], uploader["restartPolicy"]) == ("flyte-copilot-uploader", "Always")
    assert (downloader["name"], downloader.get("restartPolicy")) == ("flyte-copilot-downloader", None)
    assert spec["terminationGracePeriodSeconds"] == 3600
    for one in (uploader, downloader):
        assert one["image"] == "propeller:1"
        assert one["command"] == ["propeller", "dataloader"]
        assert one["resources"]["limits"] == one["resources"]["requests"] == {"cpu": "500m", "memory": "256Mi"}
        assert option(one["args"], "--s3-endpoint") == "http://s3"


def test_program_and_loaders_share_the_volumes_at_the_authors_paths() -> None:
    spec = spec_of(raw(("x",), ("o0",), **BOTH))
    assert [volume["name"] for volume in spec["volumes"]] == [
        *("flyte-inputs", "flyte-outputs", "propeller-marks", "propeller-podinfo")
    ]
    (program,) = spec["containers"]
    assert program["volumeMounts"] == [
        {"name": "flyte-inputs", "mountPath": "/var/inputs"},
        {"name": "flyte-outputs", "mountPath": "/var/outputs"},
    ]
    uploader, downloader = spec["initContainers"]
    assert [mount["mountPath"] for mount in uploader["volumeMounts"]] == [
        *("/var/outputs", "/var/propeller/marks", "/var/propeller/podinfo")
    ]
    assert [mount["mountPath"] for mount in downloader["volumeMounts"]] == ["/var/inputs", "/var/propeller/marks"]


def test_the_loaders_know_what_to_load_and_where() -> None:
    uploader, downloader = spec_of(raw(("x",), ("o0",), format="YAML", **BOTH))["initContainers"]
    words = downloader["args"]
    assert option(words, "--from-remote").endswith("/n0/data/inputs.pb")
    assert (option(words, "--to-local-dir"), option(words, "--format")) == ("/var/inputs", "YAML")
    words = uploader["args"]
    assert option(words, "--from-local-dir") == "/var/outputs"
    assert option(words, "--to-output-prefix").endswith("/n0/data/0")
    assert option(words, "--to-raw-output").startswith("s3://raw/")
    interface = interface_pb2.VariableMap.FromString(base64.b64decode(option(words, "--interface")))
    assert list(interface.variables) == ["o0"]


def test_directories_that_the_author_does_not_name_are_flytes() -> None:
    (program,) = spec_of(raw(("x",), ("o0",)))["containers"]
    assert [mount["mountPath"] for mount in program["volumeMounts"]] == ["/var/flyte/inputs", "/var/flyte/outputs"]


def test_a_task_without_outputs_has_no_uploader_and_waits_for_none() -> None:
    spec = spec_of(raw(("x",), **BOTH))
    (downloader,) = spec["initContainers"]
    assert downloader["name"] == DOWNLOADER
    assert "--marks" not in downloader["args"]
    assert "terminationGracePeriodSeconds" not in spec


def test_a_task_without_inputs_waits_for_the_uploader() -> None:
    _, waits = spec_of(raw((), ("o0",), **BOTH))["initContainers"]
    assert "--from-remote" not in waits["args"]
    assert option(waits["args"], "--marks") == "/var/propeller/marks"


def test_inputs_that_are_all_in_the_command_are_not_downloaded_unless_a_directory_is_named() -> None:
    command = ("echo", "{{.inputs.x}} {{ .Inputs.y }}")
    assert "initContainers" not in spec_of(raw(("x", "y"), command=command))
    assert spec_of(raw(("x", "y"), command=command, inputPath="/in"))["initContainers"]
    assert spec_of(raw(("x", "y"), command=(*command, "/var/flyte/inputs/x")))["initContainers"]
    assert spec_of(raw(("x", "y"), command=("echo", "{{.inputs.x}}")))["initContainers"]


def test_loaders_have_the_least_rights_and_none_of_the_tasks_secrets() -> None:
    secrets = {"securityContext": {"secrets": [{"group": "g", "key": "k", "mountRequirement": "FILE"}]}}
    spec = spec_of(raw(("x",), ("o0",), fields=secrets, **BOTH))
    for one in spec["initContainers"]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "runAsNonRoot": True,
        }
        assert not any("g" in str(mount.get("mountPath", "")).split("/") for mount in one["volumeMounts"])
        assert not any("SECRET" in variable["name"] for variable in one["env"])
    (program,) = spec["containers"]
    assert any(mount["mountPath"] == "/etc/flyte/secrets/g" for mount in program["volumeMounts"])


def test_loaders_run_as_the_program_does_or_as_the_operator_says() -> None:
    defaults = PodDefaults(security_context={"runAsUser": 1000})
    of = raw(("x",), **BOTH)
    same = msgspec.structs.replace(SETTINGS, defaults=defaults)
    pod_spec = {"containers": [{"name": "main", "image": "i", "securityContext": {"runAsUser": 7}}]}
    of_pod = template(k8sPod={"podSpec": pod_spec, "dataConfig": {"enabled": True}}, outputs=("o0",))
    of_pod["config"] = {"primary_container_name": "main"}
    uploader, _ = spec_of(of_pod, same)["initContainers"]
    assert uploader["securityContext"]["runAsUser"] == 7
    root = msgspec.structs.replace(SETTINGS, raw_containers=RawContainerOptions(image="i", user=0))
    (downloader,) = spec_of(of, root)["initContainers"]
    assert downloader["securityContext"]["runAsUser"] == 0
    assert downloader["securityContext"]["runAsNonRoot"] is False


def test_types_with_long_descriptions_fit_into_an_argument() -> None:
    of = raw((), ("o0",), **BOTH)
    of["interface"]["outputs"]["variables"]["o0"]["type"] = {
        "simple": "STRUCT",
        "metadata": {"definitions": "x" * 200_000},
    }
    uploader, _ = spec_of(of)["initContainers"]
    assert len(option(uploader["args"], "--interface")) < 100


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (raw(("x",), inputPath="var/inputs"), "input_data_dir is 'var/inputs'"),
        (raw(("x",), inputPath="/var/../etc"), "input_data_dir is '/var/../etc'"),
        (raw(("x",), inputPath="/"), "input_data_dir is ''"),
        (raw((), ("o0",), outputPath="/out:ro"), "output_data_dir is '/out:ro'"),
        (raw((), ("o0",), outputPath="/$(HOME)"), "output_data_dir"),
        (raw(("x",), ("o0",), inputPath="/data", outputPath="/data/"), "are both '/data'"),
    ],
)
def test_a_directory_that_cannot_be_is_refused(of: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        spec_of(of)


def test_a_pod_that_has_a_loaders_name_is_refused() -> None:
    containers = [{"name": "main", "image": "i"}, {"name": UPLOADER, "image": "i"}]
    of = template(k8sPod={"podSpec": {"containers": containers}, "dataConfig": {"enabled": True}}, outputs=("o0",))
    of["config"] = {"primary_container_name": "main"}
    with pytest.raises(Invalid, match="flyte-copilot-uploader"):
        spec_of(of)


def test_without_an_image_the_operator_is_told_which_setting_names_it() -> None:
    with pytest.raises(Invalid, match=r"raw_containers\.image"):
        spec_of(raw((), ("o0",)), PodSettings(raw_output_prefix="s3://raw"))


LATER = "2026-01-01T00:00:20Z"
PROGRAM = ended(0, "Completed", at="2026-01-01T00:00:10Z")
WORKS = container(UPLOADER, running={})
PROXY = container("istio-proxy", running={})


def effects_of(found: Transition | None) -> tuple[Any, ...]:
    assert isinstance(found, Stay)
    return found.effects


def restarted(exit_code: int, at: str) -> dict[str, Any]:
    return {**WORKS, "lastState": {"terminated": {"exitCode": exit_code, "finishedAt": at}}}


@pytest.mark.parametrize(
    ("of", "phase"),
    [
        (pod("Running", container(running={}), init=(WORKS,)), AttemptPhase.RUNNING),
        (pod("Running", PROGRAM, init=(WORKS,)), AttemptPhase.RUNNING),
        (pod("Running", PROGRAM, init=(restarted(1, "2026-01-01T00:00:05Z"),)), AttemptPhase.RUNNING),
        (pod("Running", PROGRAM, init=(restarted(0, LATER),)), AttemptPhase.SUCCEEDED),
        (pod("Running", PROGRAM, init=(ended(0, name=UPLOADER, at=LATER),)), AttemptPhase.SUCCEEDED),
        (pod("Succeeded", PROGRAM, init=(ended(0, name=UPLOADER, at=LATER),)), AttemptPhase.SUCCEEDED),
        (pod("Succeeded", PROGRAM, init=(ended(137, name=UPLOADER, at=LATER),)), AttemptPhase.FAILED),
        (pod("Succeeded", PROGRAM, init=(ended(4, name=UPLOADER, at=LATER),)), AttemptPhase.SUCCEEDED),  # error.pb
        (pod("Running", ended(1, "Error"), init=(WORKS,)), AttemptPhase.RUNNING),
        (
            pod("Running", ended(1, "Error", at=LATER), init=(restarted(1, "2026-01-01T00:00:05Z"),)),
            AttemptPhase.RUNNING,
        ),
        (pod("Running", ended(1, "Error"), init=(WORKS,), deleted=True), AttemptPhase.FAILED),
        (pod("Running", ended(1, "Error"), PROXY, init=(ended(4, name=UPLOADER, at=LATER),)), AttemptPhase.FAILED),
        (pod("Failed", ended(1, "Error"), init=(ended(0, name=UPLOADER, at=LATER),)), AttemptPhase.FAILED),
    ],
)
def test_an_attempt_ends_well_once_its_outputs_are_uploaded(of: Pod, phase: AttemptPhase) -> None:
    assert report(of, 1).phase == phase


SAID = ended(4, "Error", "User Error: no rain\n", name=UPLOADER, at=LATER)


def test_a_program_that_fails_says_why_before_its_exit_code_does() -> None:
    failure = report(pod("Failed", ended(3, "Error", "last line"), init=(SAID,)), 1).failure
    assert failure is not None
    assert (failure.code, failure.kind) == ("Error", ErrorKind.USER)
    assert failure.message.splitlines() == [
        "User Error: no rain",
        "[main] terminated with exit code (3), reason Error: last line",
    ]


@pytest.mark.parametrize(
    ("of", "alive"),
    [
        (pod("Running", ended(3, "Error"), init=(WORKS,)), True),
        (pod("Running", ended(3, "Error"), init=(WORKS,), deleted=True), False),
        (pod("Running", ended(3, "Error"), init=(SAID,)), False),
        (pod("Running", ended(3, "Error"), init=(container("proxy", running={}),)), False),  # the kubelet stops it
    ],
)
def test_an_uploader_that_goes_on_when_its_attempt_is_over_is_stopped(of: Pod, alive: bool) -> None:
    """Regression: it was left to the kubelet, which lets it upload for an hour."""
    assert POD.is_alive(of) is alive


def test_what_a_program_says_does_not_change_who_killed_it() -> None:
    failure = report(pod("Failed", ended(137, "OOMKilled"), init=(SAID,)), 1).failure
    assert failure is not None
    assert failure.code == "OOMKilled"
    assert failure.message.startswith("User Error: no rain")


def test_a_failed_program_is_waited_for_until_its_uploader_has_spoken_but_not_for_long() -> None:
    seen = report(pod("Running", ended(3, "Error", "last line"), init=(WORKS,)), 1)
    began = task_transition(node_of(retries=5), Running(1, NOW, started=True), seen, NOW)
    assert isinstance(began, Continue)
    waits = began.state
    assert isinstance(waits, Running)
    assert began.wakes == (waits.until,) == (NOW + 30,)
    assert task_transition(node_of(retries=5), waits, seen, NOW + 29) is None
    (look,) = effects_of(task_transition(node_of(retries=5), waits, TimerFired(), NOW + 30))
    assert isinstance(look, Expire)
    over = task_transition(node_of(retries=5), waits, seen, NOW + 30)
    assert isinstance(over, StartAttempt)
    assert over.failure == seen.failure


def test_an_uploader_that_is_killed_is_the_platforms_failure() -> None:
    failure = report(pod("Succeeded", PROGRAM, init=(ended(137, "Error", name=UPLOADER, at=LATER),)), 1).failure
    assert failure is not None
    assert (failure.code, failure.kind) == ("OutputUploadFailed", ErrorKind.SYSTEM)
    assert failure.message == "[flyte-copilot-uploader] terminated with exit code (137), reason Error"


@pytest.mark.parametrize(
    ("of", "waits"),
    [
        (pod("Running", PROGRAM, PROXY, init=(WORKS,)), True),
        (pod("Running", PROGRAM, init=(WORKS,)), False),  # the kubelet tells it
        (pod("Running", container(running={}), PROXY, init=(WORKS,)), False),
        (pod("Running", ended(1, "Error"), PROXY, init=(WORKS,)), True),  # it may have written _ERROR
        (pod("Running", PROGRAM, PROXY, init=(ended(0, name=UPLOADER, at=LATER),)), False),
        (pod("Running", PROGRAM, PROXY), False),
    ],
)
def test_the_uploader_is_told_of_the_programs_end_if_another_container_goes_on(of: Pod, waits: bool) -> None:
    assert uploader_waits(of) is waits


def test_the_uploader_is_told_once() -> None:
    of = pod("Running", PROGRAM, PROXY, init=(WORKS,))
    annotations = {**(of.metadata.annotations or {}), "propeller/primary-ended": "0"}
    told = msgspec.structs.replace(of, metadata=msgspec.structs.replace(of.metadata, annotations=annotations))
    assert not uploader_waits(told)
