"""The limit of open files is raised as far as it can be, and what is too little is said."""

from __future__ import annotations

import subprocess
import sys

import pytest

RAISE = """
import logging, resource, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from propeller.cli._descriptors import raise_descriptors
print(raise_descriptors(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [(100, 2048, ""), (2048, 2048, ""), (100, 512, "at most 512 files can be open"), (512, 512, "at most 512")],
)
def test_the_soft_limit_is_raised_to_the_hard_one_and_little_is_said(soft: int, hard: int, said: str) -> None:
    """In a process of its own: a hard limit that was lowered stays."""
    command = [sys.executable, "-c", RAISE, str(soft), str(hard)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == f"{hard} {hard} {hard}"
    assert (said in out) if said else len(out.splitlines()) == 1
