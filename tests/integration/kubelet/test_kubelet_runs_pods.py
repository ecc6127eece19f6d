"""Pods as real processes: their phases, exit codes, environment and logs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from propeller import config
from propeller.clock import parse_rfc3339
from propeller.embedded.kubelet import Kubelet
from propeller.errors import NotFound, Rejected

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

pytestmark = pytest.mark.usefixtures("kubelet")


@pytest.fixture
def settings(request: pytest.FixtureRequest, settings: config.KubeletOptions) -> config.KubeletOptions:
    """With another `status_delay` in seconds, where a test gives one as the parameter."""
    return msgspec.structs.replace(settings, status_delay=getattr(request, "param", settings.status_delay))


QUICK = pytest.mark.parametrize("settings", [600.0], indirect=True, ids=["quick"])
"""However slow the machine, the pod ends before its status is due."""


@QUICK
async def test_a_quick_pod_succeeds_in_two_requests(cluster: Cluster) -> None:
    await cluster.create("p", "true")
    assert (await cluster.over("p"))["exitCode"] == 0
    assert cluster.requests_of("p") == ["bind", "Succeeded"]


async def test_a_pod_that_takes_its_time_is_seen_running(cluster: Cluster) -> None:
    await cluster.create("p", "sleep", "0.3")
    status = await cluster.phase("p", "Running")
    assert "startedAt" in status["containerStatuses"][0]["state"]["running"]
    await cluster.phase("p", "Succeeded")
    assert cluster.requests_of("p") == ["bind", "Running", "Succeeded"]


@QUICK
async def test_a_pod_created_with_a_node_needs_no_binding(cluster: Cluster) -> None:
    await cluster.create("p", "true", nodeName="embedded")
    await cluster.phase("p", "Succeeded")
    assert cluster.requests_of("p") == ["Succeeded"]


async def test_pods_of_other_nodes_and_schedulers_are_left_alone(cluster: Cluster) -> None:
    await cluster.create("elsewhere", "true", nodeName="other")
    await cluster.create("gang", "true", schedulerName="volcano")
    await cluster.create("p", "true")
    await cluster.phase("p", "Succeeded")
    assert cluster.requests_of("elsewhere") == cluster.requests_of("gang") == []


async def test_an_exit_code_is_reported_as_an_error(cluster: Cluster) -> None:
    await cluster.create("p", "sh", "-c", "exit 7")
    ended = await cluster.over("p")
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert cluster.pods["p"]["status"]["phase"] == "Failed"


async def test_a_signal_is_reported_with_its_exit_code(cluster: Cluster) -> None:
    await cluster.create("p", "sh", "-c", "kill -SEGV $$$$")  # `$$` stands for one dollar
    ended = await cluster.over("p")
    assert (ended["exitCode"], ended["signal"]) == (139, 11)


async def test_a_command_that_is_not_there_is_a_start_error(cluster: Cluster) -> None:
    await cluster.create("p", "no-such-program")
    ended = await cluster.over("p")
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert '"no-such-program": executable file not found in $PATH' in ended["message"]


async def test_a_file_that_cannot_be_executed_is_a_start_error(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\x00\x01")
    (tmp_path / "garbage").chmod(0o700)
    await cluster.create("p", str(tmp_path / "garbage"))
    ended = await cluster.over("p")
    assert (ended["reason"], "Exec format error" in ended["message"]) == ("StartError", True)


async def test_output_and_errors_are_kept_in_order(cluster: Cluster) -> None:
    await cluster.create("p", "sh", "-c", "echo one; echo two >&2; echo three")
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "one\ntwo\nthree\n"


async def test_a_followed_log_ends_with_its_container(cluster: Cluster, kubelet: Kubelet) -> None:
    await cluster.create("p", "sh", "-c", "echo one; sleep 0.3; echo two")
    await cluster.logged("p", "one")
    chunks = [chunk async for chunk in kubelet.logs("ns", "p", follow=True)]
    assert b"".join(chunks) == b"one\ntwo\n"
    assert [chunk async for chunk in kubelet.logs("ns", "p", tail=1)] == [b"two\n"]


async def test_lines_are_given_by_the_time_at_which_they_were_written(cluster: Cluster, kubelet: Kubelet) -> None:
    await cluster.create("p", "sh", "-c", "echo one; sleep 0.6; echo two; sleep 60")
    await cluster.logged("p", "two")
    text = b"".join([chunk async for chunk in kubelet.logs("ns", "p", timestamps=True)]).decode()
    (first, one), (second, two) = (line.split() for line in text.splitlines())
    assert (one, two) == ("one", "two")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", first)
    assert parse_rfc3339(second) - parse_rfc3339(first) >= 0.5
    since = parse_rfc3339(first) + 0.1
    assert [chunk async for chunk in kubelet.logs("ns", "p", since=since)] == [b"two\n"]


async def test_each_run_of_a_container_has_a_log_of_its_own(cluster: Cluster, kubelet: Kubelet, tmp_path: Path) -> None:
    script = f"echo again >> {tmp_path}/runs; wc -l < {tmp_path}/runs; test $(wc -l < {tmp_path}/runs) = 3 && sleep 60"
    await cluster.create("p", "sh", "-c", script, restartPolicy="OnFailure")
    await cluster.until("p", lambda status: status.get("phase") == "Running")
    await cluster.until("p", lambda status: status["containerStatuses"][0]["restartCount"] == 2)
    await cluster.until("p", lambda status: "running" in status["containerStatuses"][0]["state"])
    await cluster.logged("p", "3")
    assert [chunk async for chunk in kubelet.logs("ns", "p")] == [b"3\n"]
    assert [chunk async for chunk in kubelet.logs("ns", "p", previous=True)] == [b"2\n"]


async def test_a_container_that_has_run_once_has_no_previous_log(cluster: Cluster, kubelet: Kubelet) -> None:
    await cluster.create("p", "true")
    await cluster.phase("p", "Succeeded")
    with pytest.raises(Rejected, match='previous terminated container "main" in pod "p" not found'):
        [chunk async for chunk in kubelet.logs("ns", "p", previous=True)]


async def test_logs_of_an_unknown_pod_are_not_found(kubelet: Kubelet) -> None:
    with pytest.raises(NotFound):
        [chunk async for chunk in kubelet.logs("ns", "none")]


async def test_env_and_args_are_expanded_and_nothing_else_leaks_in(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    env = [
        {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "HELLO", "value": "hi $(WHO)"},
    ]
    script = 'echo "$HELLO" "$1" "$HOSTNAME" "[$AWS_SECRET_ACCESS_KEY]"'
    await cluster.create("p", "sh", "-c", script, "sh", args=["<$(HELLO)>"], env=env)
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "hi p <hi p> p []\n"


async def test_a_working_dir_is_entered_and_a_missing_one_is_named(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.create("p", "pwd", workingDir=str(tmp_path))
    await cluster.create("q", "pwd", workingDir="/no/such/dir")
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == f"{tmp_path}\n"
    assert "/no/such/dir: no such directory" in (await cluster.over("q"))["message"]


async def test_a_missing_secret_holds_the_container_until_it_appears(cluster: Cluster) -> None:
    env = [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    await cluster.create("p", "sh", "-c", "echo $S", env=env)

    def held(status: dict[str, object]) -> bool:
        return "CreateContainerConfigError" in str(status.get("containerStatuses"))

    assert 'secret "s" not found' in str(await cluster.until("p", held))
    cluster.objects["Secret", "s"] = {"data": {"k": "aHVzaA=="}}
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "hush\n"


async def test_a_variable_that_leads_to_a_mounted_secret_does_so_here_too(cluster: Cluster) -> None:
    env = [
        {"name": "ABOVE", "value": "/etc/flyte/secrets"},
        {"name": "AT", "value": "/etc/flyte/secrets/shop"},
        {"name": "IN", "value": "/etc/flyte/secrets/shop/token"},
        {"name": "BESIDE", "value": "/etc/flyte/secrets-of-others"},
        {"name": "ROOT", "value": "/etc"},
    ]
    script = "cat $ABOVE/shop/token $AT/token $IN; ls $AT; echo $BESIDE $ROOT"
    items = [{"key": "t", "path": "token"}, {"key": "none", "path": "missing"}]
    fields = {
        "volumes": [{"name": "s", "secret": {"secretName": "shop", "items": items, "optional": True}}],
        "volumeMounts": [{"name": "s", "mountPath": "/etc/flyte/secrets/shop"}],
    }
    cluster.objects["Secret", "shop"] = {"data": {"t": "aHVzaAo="}}
    await cluster.create("p", "sh", "-c", script, env=env, **fields)
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "hush\n" * 3 + "token\n/etc/flyte/secrets-of-others /etc\n"


async def test_containers_share_an_empty_dir(cluster: Cluster) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    init = {"name": "i", "command": ["sh", "-c", "echo made > $PROPELLER_VOLUME_DATA/f"], "volumeMounts": mounts}
    fields = {"initContainers": [init], "volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": mounts}
    await cluster.create("p", "cat", "$(PROPELLER_VOLUME_DATA)/f", **fields)
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "made\n"


async def test_init_containers_run_in_order_and_a_failed_one_ends_the_pod(cluster: Cluster) -> None:
    inits = [{"name": "a", "command": ["true"]}, {"name": "b", "command": ["false"]}]
    await cluster.create("p", "true", initContainers=inits)
    status = await cluster.phase("p", "Failed")
    assert [one["state"]["terminated"]["exitCode"] for one in status["initContainerStatuses"]] == [0, 1]
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"


async def test_a_native_sidecar_ends_with_the_last_container(cluster: Cluster) -> None:
    sidecar = {"name": "proxy", "command": ["sleep", "60"], "restartPolicy": "Always"}
    await cluster.create("p", "sleep", "0.1", initContainers=[sidecar], terminationGracePeriodSeconds=5)
    status = await cluster.phase("p", "Succeeded")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["signal"] == 15


async def test_the_termination_message_is_read_or_taken_from_the_log(cluster: Cluster) -> None:
    await cluster.create("own", "sh", "-c", "echo -n why > $PROPELLER_TERMINATION_LOG; exit 1")
    await cluster.create("log", "sh", "-c", "echo oh; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    assert (await cluster.over("own"))["message"] == "why"
    assert (await cluster.over("log"))["message"] == "oh\n"


async def test_a_failing_container_is_restarted_until_it_succeeds(cluster: Cluster, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) = 3"
    await cluster.create("p", "sh", "-c", script.replace("$(", "$$("), restartPolicy="OnFailure")
    status = await cluster.phase("p", "Succeeded")
    container = status["containerStatuses"][0]
    assert (container["restartCount"], container["lastState"]["terminated"]["exitCode"]) == (2, 1)


async def test_more_pods_than_fit_wait_in_order_and_are_told_why(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    one_at_a_time = msgspec.structs.replace(settings, max_pods=1, unschedulable_after=0.05)
    cluster.pods.clear()
    async with Kubelet(cluster, settings=one_at_a_time, workdir=tmp_path / "small", node_name="small"):
        for name in ("a", "b", "c"):
            await cluster.create(name, "sh", "-c", f"echo {name} >> {tmp_path}/order; sleep 0.2", nodeName="small")
        waiting = await cluster.until("c", lambda status: "Unschedulable" in str(status))
        assert "Too many pods" in str(waiting)
        await cluster.phase("c", "Succeeded")
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c"]


async def test_usage_counts_the_cpu_and_memory_of_a_container(cluster: Cluster, kubelet: Kubelet) -> None:
    code = "b = bytearray(50_000_000); sum(range(3_000_000))"
    await cluster.create("p", sys.executable, "-c", code)
    await cluster.phase("p", "Succeeded")
    used = kubelet.usage("ns", "p")["main"]
    assert used.cpu_seconds > 0.01
    assert used.max_memory > 50_000_000


async def test_requests_that_fail_are_repeated(cluster: Cluster) -> None:
    cluster.failing = 3
    await cluster.create("p", "true")
    await cluster.phase("p", "Succeeded")
    assert cluster.requests_of("p") == ["bind"] * 4 + ["Succeeded"]


async def test_the_node_is_registered_with_what_it_has(cluster: Cluster, kubelet: Kubelet) -> None:
    node = cluster.nodes["embedded"]
    assert node["status"]["capacity"]["pods"] == str(kubelet.capacity.pods)
    assert int(node["status"]["capacity"]["cpu"]) == len(os.sched_getaffinity(0))


async def test_many_pods_at_once_all_end(cluster: Cluster) -> None:
    for number in range(40):
        await cluster.create(f"p{number}", "true")
    await asyncio.gather(*(cluster.phase(f"p{number}", "Succeeded") for number in range(40)))
    assert all(cluster.requests_of(f"p{number}").count("bind") == 1 for number in range(40))
