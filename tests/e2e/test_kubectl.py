"""kubectl beside a run on this machine: the embedded cluster is one that it knows."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import assets
from tests.e2e.conftest import Propeller

FLOW = """
import time

@task
def nap(x: int) -> int:
    time.sleep(3)
    return x + 1

@workflow
def naps(x: int = 1) -> int:
    return nap(x=nap(x=x))
"""


SERIES = """
@task
def first() -> int:
    print("first says hello")
    return 1

@task
def second(x: int) -> int:
    import time
    time.sleep(30)
    return x

@workflow
def series() -> int:
    return second(x=first())
"""


def said(kubeconfig: Path, *words: str) -> str:
    return started(kubeconfig, *words).communicate(timeout=60)[0]


def started(kubeconfig: Path, *words: str) -> subprocess.Popen[str]:
    command = [str(assets.binary("kubectl")), "--kubeconfig", str(kubeconfig), "--cache-dir", str(kubeconfig.parent)]
    return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.needs("embedded", "kubectl", "flytekit")
def test_kubectl_watches_workflows_and_pods_during_a_run(propeller: Propeller, flow: Callable[[str], Path]) -> None:
    kubeconfig = propeller.home / "kubeconfig"
    run = propeller.start("run", flow(FLOW), "naps", "--serve", kubeconfig, "--python", sys.executable)
    until = time.monotonic() + 60
    while not kubeconfig.exists() or not kubeconfig.read_text():
        assert time.monotonic() < until, "the cluster is not served"
        time.sleep(0.05)
    watches = [started(kubeconfig, "get", kind, "-A", "-w") for kind in ("flyteworkflows", "pods")]
    while "flyteworkflow.flyte.lyft.com/" not in (shown := said(kubeconfig, "get", "flyteworkflows,pods", "-A")):
        assert time.monotonic() < until, shown  # served before the workflow is there
    assert run.wait(timeout=60) == 0
    run.communicate()
    workflows, pods = (watch.communicate(timeout=60)[0] for watch in watches)
    assert "Running" in workflows
    assert "Succeeded" in workflows
    assert "n0-0" in pods
    assert "n1-0" in pods
    assert "Completed" in pods
    assert not kubeconfig.exists()


@pytest.mark.needs("embedded", "kubectl", "flytekit")
def test_kubectl_looks_into_a_run_over_tls(propeller: Propeller, flow: Callable[[str], Path]) -> None:
    kubeconfig = propeller.home / "kubeconfig"
    options = ("--serve", kubeconfig, "--tls", "--max-pods", "3", "--python", sys.executable)
    run = propeller.start("run", flow(SERIES), "series", *options)
    until = time.monotonic() + 60
    while "n1-0" not in (pods := said(kubeconfig, "get", "pods", "-A", "-o", "name") if kubeconfig.exists() else ""):
        assert time.monotonic() < until, pods
        time.sleep(0.2)
    assert "https://127.0.0.1:" in kubeconfig.read_text()
    assert said(kubeconfig, "get", "nodes", "-o", "jsonpath={.items[*].status.capacity.pods}") == "3"
    pod = next(name for name in pods.split() if name.endswith("n0-0"))
    namespace = ("-n", "flytesnacks-development")
    reasons = {"Scheduled", "Pulled", "Created", "Started"}
    while lacking := {one for one in reasons if f" {one} " not in said(kubeconfig, "describe", pod, *namespace)}:
        assert time.monotonic() < until, lacking  # Events are written a moment later
    log = said(kubeconfig, "logs", pod, "--timestamps", *namespace)
    assert re.search(r"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z first says hello$", log, re.MULTILINE), log
    assert "first says hello" in said(kubeconfig, "logs", pod, "--since=10m", *namespace)
    execution = pod.removeprefix("pod/").removesuffix("-n0-0")
    words = ("get", execution, "n0", "logs", *namespace, "--kubeconfig", kubeconfig)
    while "first says hello" not in (shown := propeller(*words)).out:
        assert time.monotonic() < until, shown.err  # its first status is written a moment later
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 130
    run.communicate()
