"""ContainerTasks whose inputs and outputs are files, by programs without Python, and how they fail."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from propeller.testing import S3Server
from tests.e2e.conftest import Propeller
from tests.e2e.test_pods import KUBERNETES

pytestmark = pytest.mark.needs("embedded", "flytekit")

HEAD = """
from flytekit import ContainerTask, kwtypes, task, workflow
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

def container(name, *command, inputs=None, outputs=None, **more):
    return ContainerTask(
        name=name, image="none", command=list(command), inputs=inputs, outputs=outputs,
        input_data_dir="/var/inputs", output_data_dir="/var/outputs", **more,
    )
"""

Flow = Callable[[str], Path]


SCRIPT = """
t = container("script", "/bin/sh", "-c", {script!r}, inputs=kwtypes(text=str), outputs=kwtypes(x=int))

@workflow
def wf(text: str = "") -> int:
    return t(text=text)
"""


def sh(script: str) -> str:
    """A workflow of one shell script, with an input `text` and an output `x`."""
    return HEAD + SCRIPT.format(script=script)


C = r"""
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    FILE *in = fopen("/var/inputs/n", "r"), *out = fopen("/var/outputs/square", "w");
    long n;
    if (!in || !out || fscanf(in, "%ld", &n) != 1) { perror("square"); return 1; }
    fprintf(out, "%ld\n", n * n);
    fclose(out);
    out = fopen("/var/outputs/table.csv", "w");
    for (long i = 0; i < n; i++) fprintf(out, "%ld,%ld\n", i, i * i);
    return fclose(out);
}
"""


@pytest.fixture
def square(tmp_path: Path) -> Path:
    """A program that has the paths of its files in itself."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler: install gcc")
    (tmp_path / "square.c").write_text(C)
    subprocess.run([compiler, "-o", tmp_path / "square", tmp_path / "square.c"], check=True)
    return tmp_path / "square"


THREE = """
compiled = container(
    "compiled", {square!r}, inputs=kwtypes(n=int), outputs=kwtypes(square=int, table=FlyteFile["csv"])
)
shell = container(
    "shell", "/bin/sh", "-c",
    "wc -l < /var/inputs/table > /var/outputs/lines; mkdir -p /var/outputs/d/deep; "
    "cp /var/inputs/table /var/outputs/d/t.csv; cp /var/inputs/table /var/outputs/d/deep",
    inputs=kwtypes(table=FlyteFile), outputs=kwtypes(lines=int, d=FlyteDirectory),
)
perl = container(
    "perl", "perl", "-MJSON::PP", "-e",
    'local $/; open(F, "<", "/var/inputs/inputs.json"); $i = decode_json(<F>); '
    'open(O, ">", "/var/outputs/s"); '
    'my @f = glob("$i->{{d}}/* $i->{{d}}/deep/*"); '
    'print O encode_json({{n => $i->{{xs}}[1] + $i->{{lines}}, files => scalar @f}}); '
    "close O",
    inputs=kwtypes(d=FlyteDirectory, xs=list[int], lines=int), outputs=kwtypes(s=dict),
)

@task
def show(s: dict, square: int) -> str:
    return f"{{square}} {{s['n']:g}} {{s['files']:g}}"

@workflow
def wf(n: int) -> str:
    square, table = compiled(n=n)
    lines, d = shell(table=table)
    return show(s=perl(d=d, xs=[10, 20], lines=lines), square=square)
"""


def three_languages(square: Path) -> str:
    return HEAD + THREE.format(square=str(square))


def test_a_compiled_program_a_shell_script_and_perl_exchange_files(
    propeller: Propeller, flow: Flow, square: Path
) -> None:
    ended = propeller.run(flow(three_languages(square)), "wf", "--n", "5", "--output", "json")
    assert ended.json == {"o0": "25 25 3"}


def test_their_files_are_on_s3(propeller: Propeller, flow: Flow, square: Path, rclone: S3Server) -> None:
    bucket = rclone.bucket()
    words = ("--n", "5", "--output", "json", "--storage", f"s3://{bucket}/runs")
    ended = propeller.run(flow(three_languages(square)), "wf", *words, **rclone.environment)
    assert ended.json == {"o0": "25 25 3"}
    (uploaded,) = (rclone.directory / bucket / "runs").rglob("d/t.csv")
    assert uploaded.read_text().splitlines()[-1] == "4,16"


PROXY = """
from kubernetes.client import V1Container, V1PodSpec

PROXY = V1Container(name="proxy", image="none", command=["sleep", "600"])
beside = PodTemplate(pod_spec=V1PodSpec(containers=[V1Container(name="primary"), PROXY]))
t = container("t", "/bin/sh", "-c", "echo 5 > /var/outputs/x", outputs=kwtypes(x=int), pod_template=beside)

@workflow
def wf() -> int:
    return t()
"""


def test_a_proxy_that_never_ends_does_not_keep_the_outputs(propeller: Propeller, flow: Flow) -> None:
    file = flow(HEAD + PROXY)
    for name, text in KUBERNETES.items():
        (file.parent / "kubernetes" / name).parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "kubernetes" / name).write_text(text)
    ended = propeller.run(file, "wf", "--output", "json")
    assert ended.json == {"o0": 5}


def test_a_failed_program_beside_a_proxy_that_never_ends_still_says_why(propeller: Propeller, flow: Flow) -> None:
    file = flow(HEAD + PROXY.replace("echo 5 > /var/outputs/x", "echo no rain > /var/outputs/_ERROR; exit 3"))
    for name, text in KUBERNETES.items():
        (file.parent / "kubernetes" / name).parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "kubernetes" / name).write_text(text)
    ended = propeller.run(file, "wf", "--output", "json")
    assert ended.code == 1
    assert "User Error: no rain" in ended.out
    assert "exit code (3)" in ended.out


FAILURES = {
    "the program fails": ("echo no such station >&2; exit 3", "exit code (3)", "no such station"),
    "an output is missing": ("echo 1 > /var/outputs/y", "OutputUploadFailed", "output 'x' is missing"),
    "an output has another type": ("echo five > /var/outputs/x", "OutputUploadFailed", "'five' is no integer"),
    "an output is too large": ("yes 1 | head -c 2000000 > /var/outputs/x", "OutputUploadFailed", "max_value_bytes"),
    "an output is a link": ("ln -s /etc/passwd /var/outputs/x", "OutputUploadFailed", "symbolic link"),
    "it writes _ERROR": ("echo 1 > /var/outputs/x; echo no rain > /var/outputs/_ERROR", "", "User Error: no rain"),
    "it writes _ERROR and fails": (
        "echo no rain > /var/outputs/_ERROR; exit 3",
        "exit code (3)",
        "User Error: no rain",
    ),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_is_the_users_and_says_what_to_mend(propeller: Propeller, flow: Flow, what: str) -> None:
    script, code, why = FAILURES[what]
    ended = propeller.run(flow(sh(script)), "wf", "--output", "json")
    assert ended.code == 1
    assert "USER" in ended.out
    assert code in ended.out
    assert why in ended.out


def test_an_input_that_would_leave_its_directory_is_refused(propeller: Propeller, flow: Flow) -> None:
    text = HEAD + (
        "t = container('script', 'cat', '/var/inputs/m', inputs=kwtypes(m=dict[str, int]))\n"
        "@workflow\ndef wf():\n    t(m={'../../../tmp/x': 1})\n"
    )
    ended = propeller.run(flow(text), "wf", "--output", "json")
    assert ended.code == 1
    assert "InputDownloadFailed" in ended.out
    assert "named '../../../tmp/x'" in ended.out


def test_inputs_over_the_limit_of_bytes_are_refused(propeller: Propeller, flow: Flow) -> None:
    text = sh("echo 1 > /var/outputs/x")
    limit = {"PROPELLER_RAW_CONTAINERS__MAX_BYTES": "10"}
    ended = propeller.run(flow(text), "wf", "--text", "x" * 20, "--output", "json", **limit)
    assert ended.code == 1
    assert "InputDownloadFailed" in ended.out
    assert "more than 10 bytes (raw_containers.max_bytes)" in ended.out


def test_a_download_over_its_time_is_the_platforms_failure_and_tried_again(propeller: Propeller, flow: Flow) -> None:
    text = HEAD + (
        "t = container('script', 'cat', '/var/inputs/f', inputs=kwtypes(f=FlyteFile))\n"
        "@workflow\ndef wf(f: FlyteFile):\n    t(f=f)\n"
    )
    file = flow(text)
    limits = {"PROPELLER_RAW_CONTAINERS__DOWNLOAD_TIMEOUT": "0.001", "PROPELLER_ATTEMPTS__SYSTEM_RETRIES": "1"}
    ended = propeller.run(file, "wf", "--f", str(file), "--output", "json", **limits)
    assert ended.code == 1
    assert "InputDownloadFailed" in ended.out
    assert "SYSTEM" in ended.out
    assert "raw_containers.download_timeout" in ended.out
    assert '"attempt":2' in ended.out.replace(" ", "")
