"""Run seeds as a person does, by `python -m tests.simulation` and its like."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Simulation:
    """The command of a module."""

    def __init__(self, module: str) -> None:
        self._module = module

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", self._module, *arguments]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        root = Path(__file__).parents[2]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)

    def breaks_nothing(self, seeds: int, *options: str) -> str:
        """So many seeds, from the first on, keep all promises. Returns what was printed."""
        ran = self.run("--seeds", str(seeds), *options)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ran.stdout.startswith(f"{seeds} seeds, ")
        return ran.stdout

    def finds(self, mutation: str, found_by: Mapping[str, int], *options: str) -> None:
        """A planted defect breaks a promise in the world of its seed."""
        seed = found_by[mutation]
        ran = self.run("--seed", str(seed), *options, "--mutation", mutation)
        assert ran.stdout.startswith(f"seed {seed}: "), ran.stdout + ran.stderr
        assert " broken, first: " in ran.stdout
