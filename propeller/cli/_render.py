"""Render a workflow's graph: as text, for Graphviz, or as a picture."""

from __future__ import annotations

import shutil
import subprocess

from propeller.cli._launch_plans import NONE, Plans
from propeller.cli._plan_dot import to_dot
from propeller.cli._plan_text import explain
from propeller.cli._workflow import plan_of
from propeller.cli.flytekit_bridge import Serialized
from propeller.errors import Invalid, PropellerError
from propeller.text import bounded, one_line

MAX_SHOWN = 500
"""Characters of what Graphviz says."""


def render(found: Serialized, form: str, registered: Plans = NONE) -> str | bytes:
    """Render the graph as `form`: text, dot or svg. Raises CompileErrors; Invalid if Graphviz is needed and missing."""
    plan = plan_of(found, registered)
    if form == "text":
        return explain(plan)
    if form == "dot":
        return to_dot(plan)
    if shutil.which("dot") is None:
        raise Invalid("--explain svg needs Graphviz: install it (apt install graphviz), or use --explain dot or text")
    done = subprocess.run(["dot", "-Tsvg"], input=to_dot(plan).encode(), capture_output=True, check=False)
    if done.returncode:
        said = one_line(bounded(done.stderr.decode(errors="replace").strip(), MAX_SHOWN))
        raise PropellerError(f"dot -Tsvg ended with exit code {done.returncode}: {said or 'it has said nothing'}")
    return done.stdout
