"""`propeller approve`: let what waits for approval go on, or stop it."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import answer_options


@click.command("approve")
@click.argument("execution")
@click.argument("gate")
@click.option("--reject", is_flag=True, help="Do not approve: the gate fails.")
@answer_options
def command(*, execution: str, gate: str, reject: bool, namespace: str | None, output: str, **cluster: Any) -> None:
    """Approve what a GATE of an EXECUTION holds back (flytekit's approve), or reject it.

    GATE is the node's id, as `propeller status` shows it, or the name that the workflow gives it.

    \b
    propeller get a9k2m4x7 n2 inputs            what waits for approval
    propeller approve a9k2m4x7 n2
    propeller approve a9k2m4x7 n2 --reject
    """
    from propeller.cli._answering import Answer, give

    answer = Answer(execution=execution, gate=gate, approves=not reject, namespace=namespace, as_json=output == "json")
    give(answer, **cluster)
