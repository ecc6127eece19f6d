"""`propeller routes check`: whether a table is right, and sends everything where a file of expectations says."""

from __future__ import annotations

import click
import msgspec

from propeller.cli._connecting import cluster_options
from propeller.cli._event_loop import run
from propeller.cli._exit_codes import SUCCEEDED, WORKFLOW_FAILED
from propeller.cli._output import say, say_json
from propeller.cli._routing_tables import Tables, content_of
from propeller.cli._settings import load_settings
from propeller.routing import differences, parse_expectations


@click.command("check")
@click.argument("table")
@click.argument("expectations", required=False, default="")
@cluster_options
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print.")
@click.option("--config", default=None, metavar="FILE", help="Settings, TOML or YAML; see docs/settings.md.")
def command(
    *, table: str, expectations: str, kubeconfig: str | None, context: str | None, output: str, config: str | None
) -> int:
    """Check TABLE: by itself, and against a file of EXPECTATIONS if there is one.

    Exit code 0 if all is well, 1 if an expectation is not met, 2 if the table or the file is wrong: then every problem
    is named with its line and column.

    \b
    propeller routes check routes.yaml
    propeller routes check routes.yaml expectations.yaml

    \b
    # expectations.yaml
    expectations:
      - execution: {project: ml, domain: production}
        task: {type: pytorch, resources: {nvidia.com/gpu: 2}}
        expect: {clusters: [gpu-1, gpu-2], rule: training}
      - execution: {project: ml}
        down: [gpu-1, gpu-2]
        expect: {waits: true}
    """
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
