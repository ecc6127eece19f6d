"""Options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from propeller.cli._versioned import Versioned

F = TypeVar("F", bound=Callable[..., Any])

PORT = click.IntRange(1, 65_535)
PORT_OR_ANY = click.IntRange(0, 65_535)
"""0: any free one."""

SETTINGS = "Settings, TOML or YAML; see docs/settings.md."


class Finite(click.FloatRange):
    """Numbers of a range; infinity and NaN are none, of which click takes both."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class Commands(click.Group):
    """A group whose help has the whole first sentence of each command, over as many lines as it takes."""

    group_class = type  # groups within it are as it is

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=MAX_SENTENCE)) for name, one in named if one])


MAX_SENTENCE = 500
"""Characters of a command's first sentence: none is as long."""


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


def config_option(help_: str = SETTINGS) -> Callable[[F], F]:
    """Make a decorator that adds `--config`."""
    return click.option("--config", default=None, metavar="FILE", help=help_)


def output_option(function: F) -> F:
    """Add `--output text|json`."""
    return _added(
        function,
        click.option(
            "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
        ),
    )


def project_options(of: str) -> Callable[[F], F]:
    """Make a decorator that adds `--project` and `--domain` `of` something, with flytekit's defaults."""

    def added(function: F) -> F:
        return _added(
            function,
            click.option("--domain", default=Versioned().domain, show_default=True, help=f"Domain of {of}."),
            click.option("--project", default=Versioned().project, show_default=True, help=f"Project of {of}."),
        )

    return added


def answer_options(function: F) -> F:
    """Add the options of `signal` and `approve`."""
    return _added(
        function,
        config_option("Settings; needed if statuses are in the store."),
        output_option,
        click.option("--namespace", "-n", default=None, help="Default: the context's."),
        cluster_options,
    )


def rerun_options(function: F) -> F:
    """Add EXECUTION and the options of `recover` and `relaunch`."""
    return _added(
        function,
        config_option(),
        output_option,
        click.option("--overwrite-cache", is_flag=True, help="Run cached tasks again, and cache their new outputs."),
        click.option("--name", default="", help="Of the new execution; default: a random one."),
        click.option("--namespace", "-n", default=None, help="Default: the context's."),
        cluster_options,
        click.argument("execution"),
    )
