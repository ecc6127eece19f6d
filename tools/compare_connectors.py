"""Run the tasks of flytekit's connector packages: by the packages and flytekit's own connector service, with fakes of
what they stand on.

    python tools/compare_connectors.py --python VENV/bin/python [--keep DIRECTORY]

The interpreter needs flytekit[connector] and the packages, such as flytekitplugins-bigquery; docs/connectors.md has the
commands. The tasks of `tests/connector_packages/flows.py` are run three times by `propeller run`: their jobs succeed,
they fail, and the run is interrupted while they go on. Exit code 0 if all comes as `expected.py` says, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.cli._values import to_json
from propeller.testing._processes import free_ports
from propeller.text import one_line

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "tests" / "connector_packages"
sys.path.insert(0, str(ROOT))

from tests.connector_packages.expected import EXPECTED, Expected  # noqa: E402 - it is found by the line before

SUCCEED, FAIL, NEVER = "succeed", "fail", "never"

GRACE_SECONDS = 10.0
"""That the service has to end."""

_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "none", "user": {}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "current-context": "none",
}
"""Of a cluster that is not there: the packages' clients of Kubernetes are faked."""

_SECRETS = (
    *("FLYTE_DATABRICKS_ACCESS_TOKEN", "FLYTE_OPENAI_API_KEY", "perian_organization", "perian_token"),
    *("aws_access_key_id", "aws_secret_access_key"),
)


class Outcome(msgspec.Struct, frozen=True):
    """What came of one task when its job ended so. `wrong` says what is not as expected."""

    task: str
    end: str
    wrong: str = ""


class Bench:
    """flytekit's connector service with the packages of `python`, and fakes, in a directory."""

    def __init__(self, home: Path, python: str, seconds: float) -> None:
        self.home = home
        self._python = python
        self._seconds = seconds
        self.calls, self.requests, self.end = home / "calls", home / "requests", home / "end"
        self.port, metrics, self.webhook = free_ports(3)
        config = {
            "connectors": {
                "services": [{"name": "packages", "endpoint": f"127.0.0.1:{self.port}", "insecure": True}],
                "refresh": 0.5,
                "poll_shortest": 0.2,
                "poll_longest": 0.5,
            }
        }
        self.config = home / "connectors.yaml"
        self.config.write_text(json.dumps(config))
        (home / "kubeconfig").write_text(json.dumps(_KUBECONFIG))
        directory = str(Path(python).parent)
        self.env = os.environ | {
            "KUBECONFIG": str(home / "kubeconfig"),
            "CALLS": str(self.calls),
            "REQUESTS": str(self.requests),
            "END": str(self.end),
            "FLOWS": str(ROOT),
            "WEBHOOK": str(self.webhook),
            "WEBHOOK_URL": f"http://127.0.0.1:{self.webhook}/hook",
            "PATH": f"{directory}:{os.environ['PATH']}",
            "PYTHONPATH": f"{PACKAGES}:{ROOT}",
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "FLYTE_INTERNAL_IMAGE": "unused:1",
            "_FSEC_SNOWFLAKE_PRIVATE_KEY": _private_key(python),
            **{f"_FSEC_{name.upper()}": "secret" for name in _SECRETS},
        }
        self.tasks = {task: EXPECTED[task] for task in sorted(_defined(python, self.env) & EXPECTED.keys())}
        """Of the packages that the interpreter has."""
        self._serve = [
            *(python, "-m", "flytekit.clis.sdk_in_container.pyflyte", "serve", "connector"),
            *("--port", str(self.port), "--prometheus_port", str(metrics), "--modules", "fakes"),
        ]

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        with (self.home / "service.log").open("w") as log:
            service = subprocess.Popen(self._serve, cwd=PACKAGES, env=self.env, stdout=log, stderr=log)
            try:
                until = time.monotonic() + self._seconds
                while not self._listens():
                    if service.poll() is not None or time.monotonic() > until:
                        why = "has ended" if service.poll() is not None else f"does not listen at port {self.port}"
                        raise SystemExit(f"the service {why}: {(self.home / 'service.log').read_text()[-2000:]}")
                    time.sleep(0.2)
                yield
            finally:
                service.terminate()
                try:
                    service.wait(GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    service.kill()
                    service.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def outcomes(self, end: str) -> list[Outcome]:
        """Run all tasks, whose jobs end so."""
        self.calls.write_text("")
        self.requests.write_text("")
        self.end.write_text(end)
        command = [sys.executable, "-m", "propeller.cli", "run", str(PACKAGES / "flows.py"), "everything"]
        command += ["--config", str(self.config), "--python", self._python, "--quiet"]
        with (self.home / f"run-{end}.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.home, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_heed
            )
            try:
                if end == NEVER:
                    self._wait_for_looks(process)
                    process.send_signal(signal.SIGINT)
                process.wait(self._seconds)
            except (subprocess.TimeoutExpired, TimeoutError):
                return [Outcome("", end, f"it does not end within {self._seconds:g} s")]
            finally:  # also of Ctrl-C
                process.kill()
                process.wait()
        for file in (self.calls, self.requests):
            shutil.copy(file, f"{file}-{end}")
        created = self._created()
        if not created:
            return [Outcome("", end, (self.home / f"run-{end}.log").read_text()[-500:])]
        check = {SUCCEED: self._succeeded, FAIL: self._failed, NEVER: self._given_up}[end]
        return [
            Outcome(task, end, check(expected, created[task]) if task in created else "it was not begun")
            for task, expected in self.tasks.items()
        ]

    def _created(self) -> dict[str, Path]:
        """Return the output directory of the last attempt of each task that was begun, by its name."""
        found = {}
        for line in map(json.loads, self.requests.read_text().splitlines()):
            request = line["request"]
            header = request.get("header") or request
            if "template" in header:
                name = header["template"]["id"]["name"].rpartition(".")[2]
                found[name] = Path(header["outputPrefix"].removeprefix("file://"))
        return found

    def _calls(self, call: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.calls.read_text().splitlines()) if line["call"] == call]

    def _wait_for_looks(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until every job was looked at."""
        until = time.monotonic() + self._seconds
        clients = {expected.client for expected in self.tasks.values() if not expected.is_sync}
        while not clients <= {line["client"] for line in self._calls("look")} and process.poll() is None:
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(0.1)

    def _succeeded(self, expected: Expected, directory: Path) -> str:
        outputs = directory / "outputs.pb"
        found = to_json(literals_pb2.LiteralMap.FromString(outputs.read_bytes())) if outputs.exists() else None
        if not expected.outputs(found):
            return f"outputs {one_line(json.dumps(found))[:200]}; {self._record(directory)}"
        record = self._record(directory)
        return "" if not expected.link or expected.link in record else f"the link is missing: {record}"

    def _failed(self, expected: Expected, directory: Path) -> str:
        record = self._record(directory)
        if expected.is_sync or expected.looks_fail or not record:
            return "" if expected.is_sync or expected.looks_fail else "it has left no record"
        return "" if '"FAILED"' in record and expected.failure in record else record

    def _given_up(self, expected: Expected, directory: Path) -> str:
        begun, gone = (
            {line["job"] for line in self._calls(call) if line["client"] == expected.client}
            for call in ("begin", "cancel")
        )
        return (
            ""
            if begun == gone or expected.is_sync or expected.looks_fail
            else f"jobs {begun} were begun, and {gone} cancelled"
        )

    def _record(self, directory: Path) -> str:
        record = directory / "job.json"
        return one_line(record.read_text())[:500] if record.exists() else ""


def _defined(python: str, env: Mapping[str, str]) -> set[str]:
    """Names of the tasks of `flows`, whose parts need a package each."""
    script = """
import json, flows
from flytekit.core.context_manager import FlyteEntities
print(json.dumps([entity.name.rpartition(".")[2] for entity in FlyteEntities.entities]))
"""
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, env=env)
    return set(json.loads(done.stdout))


def _private_key(python: str) -> str:
    """A key that the Snowflake package can read."""
    script = """
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
print(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode())
"""
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout


def _heed() -> None:
    """A shell has what it starts in the background ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", required=True, help="an interpreter with flytekit[connector] and the packages")
    ends = (SUCCEED, FAIL, NEVER)
    parser.add_argument("--ends", nargs="+", choices=ends, default=ends, help="how jobs end")
    parser.add_argument("--keep", type=Path, help="an empty directory in which requests, calls and logs are kept")
    parser.add_argument("--seconds", type=float, default=300.0, help="that one run may take")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="connectors-") as directory:
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
        bench = Bench(options.keep or Path(directory), options.python, options.seconds)
        with bench.serving():
            for end in options.ends:
                for outcome in bench.outcomes(end):
                    wrong += bool(outcome.wrong)
                    print(f"{outcome.task:<18} {outcome.end:<8} {outcome.wrong or 'as expected'}", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
