"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _added(function: F, *options: Callable[[F], F]) -> F:
    for option in options:
        function = option(function)
    return function


def cluster_options(function: F) -> F:
    """Add `--kubeconfig` and `--context`."""
    return _added(
        function,
        click.option(
            "--context", default=None, metavar="NAME", help="Context of the kubeconfig; default: its current."
        ),
        click.option(
            "--kubeconfig",
            default=None,
            metavar="FILE",
            help="Which cluster; default: KUBECONFIG, ~/.kube/config, or the cluster that this runs in.",
        ),
    )


def reading_options(function: F) -> F:
    """Add `--python` and `--timeout` of commands that read files of flytekit."""
    return _added(
        function,
        click.option(
            "--timeout",
            type=click.IntRange(min=0, max=86_400),
            default=300,
            show_default=True,
            metavar="SECONDS",
            help="For flytekit to read a file, each time it does; 0 is no limit.",
        ),
        click.option(
            "--python", default="", metavar="PATH", help="The interpreter that has flytekit and your libraries."
        ),
    )


def answer_options(function: F) -> F:
    """Add the options of `signal` and `approve`."""
    return _added(
        function,
        click.option("--config", default=None, metavar="FILE", help="Settings; needed if statuses are in the store."),
        click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("--namespace", "-n", default=None, help="Default: the context's."),
        cluster_options,
    )


def rerun_options(function: F) -> F:
    """Add EXECUTION and the options of `recover` and `relaunch`."""
    return _added(
        function,
        click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("--overwrite-cache", is_flag=True, help="Run cached tasks again, and cache their new outputs."),
        click.option("--name", default="", help="Of the new execution; default: a random one."),
        click.option("--namespace", "-n", default=None, help="Default: the context's."),
        cluster_options,
        click.argument("execution"),
    )
