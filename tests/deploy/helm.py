"""The helm command, and what it renders."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests import assets

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "propeller"
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
MINIMAL = ROOT / "deploy" / "examples" / "minimal.yaml"

Raw = dict[str, Any]


class Refused(Exception):
    """What helm says on standard error."""


def helm(*words: str | Path, stdin: str = "") -> str:
    """Run helm; returns its standard output. Raises Refused."""
    done = subprocess.run(
        [assets.binary("helm"), *map(str, words)], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def render(*files: Path, release: str = "propeller", namespace: str = "flyte", **values: Any) -> list[Raw]:
    """The objects that the chart makes of values: files, then `values`."""
    words: list[str | Path] = [word for file in files for word in ("--values", file)]
    given = helm(
        *("template", release, CHART, "--namespace", namespace, *words, "--values", "-"), stdin=json.dumps(values)
    )
    return [one for one in yaml.safe_load_all(given) if one]


def of_kind(objects: list[Raw], kind: str) -> list[Raw]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: list[Raw], kind: str) -> Raw:
    (found,) = of_kind(objects, kind)
    return found
