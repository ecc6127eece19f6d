"""`propeller routes check`: whether a table is right, and sends everything where a file of expectations says."""

from __future__ import annotations

import msgspec

from propeller.cli._event_loop import run
from propeller.cli._exit_codes import SUCCEEDED, WORKFLOW_FAILED
from propeller.cli._output import say, say_json
from propeller.cli._routing_tables import Tables, content_of
from propeller.cli._settings import load_settings
from propeller.routing import differences, parse_expectations


def check_table(
    *, table: str, expectations: str, kubeconfig: str | None, context: str | None, output: str, config: str | None
) -> int:
    """Check TABLE."""
    found = run(Tables(kubeconfig, context, load_settings(config)).read(table))
    expected = parse_expectations(content_of(expectations), expectations) if expectations else ()
    differ = list(differences(found, expected))
    if output == "json":
        rules, clusters = len(found.rules), len(found.clusters)
        counts = {"clusters": clusters, "rules": rules, "expectations": len(expected)}
        say_json(counts | {"differences": msgspec.to_builtins(differ)})
    else:
        for one in differ:
            say(f"✘ {one}")
        of = f", {len(expected) - len(differ)} of {len(expected)} expectations are met" if expectations else ""
        say(f"{table}: {len(found.clusters)} clusters, {len(found.rules)} rules{of}")
    return WORKFLOW_FAILED if differ else SUCCEEDED
