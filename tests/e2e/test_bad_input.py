"""What goes wrong is said in one message that names the fix, with the right exit code, and nothing is left running."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from propeller.embedded.server import ApiServer
from tests.e2e.conftest import EXAMPLES, Propeller

DEMO = EXAMPLES / "demo.py"
Flow = Callable[[str], Path]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.py", "wf"], "there is no such file"),
        ([DEMO, "nope"], "there is no workflow, task or launch plan named 'nope'; the file has: "),
        ([DEMO, "demo", "--m", "3"], "there is no input 'm'; the inputs are: n"),
        ([DEMO, "demo", "--n", "three"], "input 'n' cannot be 'three', it is of type integer"),
        ([DEMO, "demo", "three"], "'three' belongs to no input: write inputs as --name value"),
        ([DEMO, "square"], "task square needs a value for --x (integer)"),
        ([DEMO, "square", "--x", "3", "--tls"], "--tls is for a cluster that is served: add --serve FILE"),
        ([DEMO, "square", "--x", "3", "--max-pods", "0"], "0 is not in the range x>=1"),
        ([DEMO, "square", "--x", "3", "--config", "nowhere.toml"], "--config nowhere.toml cannot be read"),
    ],
)
def test_a_wrong_call_is_named_with_its_fix(propeller: Propeller, arguments: list[str | Path], says: str) -> None:
    ended = propeller.run(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_a_file_that_fails_to_import_shows_the_authors_own_traceback(propeller: Propeller, flow: Flow) -> None:
    ended = propeller.run(flow("def setup():\n    raise ValueError('no data today')\nsetup()\n"), "wf")
    assert ended.code == 2
    assert "flow.py cannot be imported: ValueError: no data today" in ended.err
    assert "in setup" in ended.err
    assert "_worker.py" not in ended.err


def test_a_task_that_raises_shows_its_traceback_node_and_attempt(propeller: Propeller, flow: Flow) -> None:
    ended = propeller.run(flow("@task\ndef t(x: int) -> int:\n    return 1 // x\n"), "t", "--x", "0")
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert "return 1 // x" in ended.err
    assert "at node n0" in ended.err
    assert "attempt 1" in ended.err


def test_a_task_that_is_retried_fails_with_its_last_attempt(propeller: Propeller, flow: Flow) -> None:
    text = "@task(retries=2)\ndef t() -> int:\n    if True: raise FlyteRecoverableException('again')\n    return 1\n"
    ended = propeller.run(
        flow("from flytekit.exceptions.user import FlyteRecoverableException\n" + text), "t", "--output", "json"
    )
    assert ended.code == 1
    assert '"attempt":3' in ended.out


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("os.kill(os.getpid(), 15)", "exit code (143)"),
        ("os._exit(0)", "wrote no outputs"),
        ("open(prefix() + '/outputs.pb', 'wb').write(b'\\xff\\xff\\xff garbage'); os._exit(0)", "CorruptData"),
    ],
    ids=["killed by a signal", "no outputs", "garbage in outputs.pb"],
)
def test_a_task_that_ends_badly_fails_its_node(propeller: Propeller, flow: Flow, body: str, says: str) -> None:
    prefix = (
        "def prefix():\n"
        "    path = sys.argv[sys.argv.index('--output-prefix') + 1].removeprefix('file://')\n"
        "    os.makedirs(path, exist_ok=True)\n"
        "    return path\n"
    )
    ended = propeller.run(flow(f"{prefix}@task\ndef t() -> int:\n    {body}\n    return 1\n"), "t")
    assert ended.code == 1
    assert says in ended.err
    assert "at node n0" in ended.err


def test_a_task_over_its_memory_is_reported_as_oom_killed(propeller: Propeller, flow: Flow) -> None:
    body = "    x = b'x' * 900_000_000\n    time.sleep(20)\n    return len(x)\n"
    ended = propeller.run(flow(f"import time\n@task(limits=Resources(mem='400Mi'))\ndef t() -> int:\n{body}"), "t")
    assert ended.code == 1
    assert "OOMKilled" in ended.err


def test_storage_that_cannot_be_written_ends_the_run_before_it_begins(propeller: Propeller) -> None:
    ended = propeller.run(DEMO, "demo", "--storage", "file:///proc/nowhere")
    assert ended.code == 3
    assert "/proc/nowhere" in ended.err


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_run_and_leaves_no_process(propeller: Propeller, flow: Flow, end: signal.Signals) -> None:
    file = flow(
        "import time\n@task\ndef t() -> int:\n"
        "    open(os.path.join(os.path.dirname(__file__), 'started'), 'w').close()\n    time.sleep(600)\n    return 1\n"
    )
    process = propeller.start("run", file, "t")
    until = time.monotonic() + 60
    while not (propeller.home / "started").exists():
        assert time.monotonic() < until, "the task did not start"
        time.sleep(0.05)
    process.send_signal(end)
    process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[end]


def test_a_port_in_use_is_named(propeller: Propeller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        ended = propeller("cluster", "--port", str(port))
    assert ended.code in {2, 3}
    assert str(port) in ended.err
    assert "in use" in ended.err


@pytest.mark.parametrize(
    ("kubeconfig", "code", "says"),
    [
        (None, 2, "no cluster: there is no"),
        ("nowhere", 2, "cannot be read"),
        ("clusters: 3", 2, "at `$.clusters`"),
    ],
)
def test_a_bad_kubeconfig_is_named(propeller: Propeller, kubeconfig: str | None, code: int, says: str) -> None:
    arguments = []
    if kubeconfig is not None:
        path = propeller.home / "kubeconfig"
        if ":" in kubeconfig:
            path.write_text(kubeconfig)
        arguments = ["--kubeconfig", str(path)]
    ended = propeller("controller", *arguments)
    assert ended.code == code
    assert says in ended.err


def test_a_cluster_that_does_not_answer_is_named(propeller: Propeller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = propeller.home / "kubeconfig"
    path.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
    )
    ended = propeller("status", "e", "--kubeconfig", str(path))
    assert ended.code == 3
    assert f"http://127.0.0.1:{port} cannot be reached" in ended.err


def test_a_controller_waits_for_a_cluster_that_does_not_answer_and_says_so(propeller: Propeller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        probes = listener.getsockname()[1]
    path = propeller.home / "kubeconfig"
    path.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
    )
    (propeller.home / "settings.toml").write_text("[client]\nreach_deadline = 0.1\nreach_backoff = 0.1\n")
    words = ("controller", "--kubeconfig", str(path), "--config", "settings.toml", "--metrics-port", str(probes))
    process = propeller.start(*words)
    assert process.stderr is not None
    said = [next(line for line in process.stderr if "asking again in" in line) for _ in range(2)]
    assert all(f"http://127.0.0.1:{port} cannot be reached" in line for line in said)
    with urllib.request.urlopen(f"http://127.0.0.1:{probes}/healthz", timeout=60) as live:
        assert live.status == 200
    with pytest.raises(urllib.error.HTTPError, match="503") as unready:
        urllib.request.urlopen(f"http://127.0.0.1:{probes}/readyz", timeout=60)
    assert f"waiting for an answer of http://127.0.0.1:{port}" in unready.value.read().decode()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


async def test_a_cluster_without_the_resource_type_is_named_with_its_fix(propeller: Propeller) -> None:
    async with ApiServer() as server, server.serve() as front:
        (propeller.home / "kubeconfig").write_text(yaml.safe_dump(front.kubeconfig()))
        words = ("controller", "--kubeconfig", "kubeconfig", "--metrics-port", "0")
        ended = await asyncio.to_thread(propeller, *words)
    assert ended.code == 3
    assert "propeller install --print | kubectl apply -f -" in ended.err


def test_an_inputs_text_reaches_the_process_as_it_is(propeller: Propeller, tmp_path: Path) -> None:
    """Regression: Kubernetes expanded `$(NAME)` of it, so that who chose an input read the container's variables."""
    file = tmp_path / "raw.py"
    file.write_text(
        "from flytekit import ContainerTask, kwtypes\n"
        "say = ContainerTask(name='say', image='image', inputs=kwtypes(x=str), environment={'PASSWORD': 'secret'},\n"
        "    command=['sh', '-c', 'printf %s: \"$1\" \"$2\" >&2; exit 1', 'x', '{{.inputs.x}}', '$(PASSWORD)'])\n"
    )
    ended = propeller.run(file, "say", "--x", "a$$b$(PASSWORD)")
    assert ended.code == 1
    assert "a$$b$(PASSWORD):secret:" in ended.err
