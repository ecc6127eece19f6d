"""`propeller signal`: give a value to a gate that waits for one."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import answer_options


@click.command("signal", context_settings={"ignore_unknown_options": True})
@click.argument("execution")
@click.argument("gate")
@click.argument("value", type=click.UNPROCESSED)
@answer_options
def command(*, execution: str, gate: str, value: str, namespace: str | None, output: str, **cluster: Any) -> None:
    """Give VALUE to a GATE of an EXECUTION that waits for input (flytekit's wait_for_input).

    GATE is the node's id, as `propeller status` shows it, or the name that the workflow gives it. VALUE is checked
    against the gate's type: lists, maps and structs are JSON, times 2026-01-31T12:00:00Z, durations 1h30m.

    \b
    propeller signal a9k2m4x7 n1 "a better title"
    propeller signal a9k2m4x7 weight 0.7 -n flytesnacks-development
    propeller signal a9k2m4x7 n1 -- -n
    """
    from propeller.cli._answering import Answer, give

    answer = Answer(execution=execution, gate=gate, text=value, namespace=namespace, as_json=output == "json")
    give(answer, **cluster)
