"""The tests of docs/testing.md, run as a user runs them: by pytest, in a directory of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import EXAMPLES

FOLDER = EXAMPLES / "controllers"
DOC = EXAMPLES.parent / "docs" / "testing.md"


def run_pytest(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    for file in FOLDER.glob("*.py"):
        shutil.copy(file, directory)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_pod_ttl.py"]
    return subprocess.run(
        command, cwd=directory, env=os.environ | environment, check=False, capture_output=True, text=True
    )


@pytest.mark.needs("kube-apiserver")
def test_the_tests_of_the_page_pass_on_both_servers(tmp_path: Path) -> None:
    done = run_pytest(tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (0, "2 passed"), done.stdout


@pytest.mark.parametrize(("ci", "code", "end"), [("", 0, "1 passed, 1 skipped"), ("true", 1, "1 passed, 1 error")])
def test_without_a_real_server_its_tests_are_skipped_with_the_mend_and_fail_in_ci(
    tmp_path: Path, ci: str, code: int, end: str
) -> None:
    done = run_pytest(tmp_path, KUBEBUILDER_ASSETS="/nonexistent", PATH="/usr/bin:/bin", CI=ci)
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (code, end), done.stdout
    assert "is not here: set KUBEBUILDER_ASSETS to a directory that has it, such as `setup-envtest use" in done.stdout


def test_the_page_shows_the_file_that_is_tested() -> None:
    assert f"```python\n{(FOLDER / 'test_pod_ttl.py').read_text()}```\n" in DOC.read_text()
