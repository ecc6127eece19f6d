"""`python -m loadtest [NAME ...]`: measure, and print a table."""

from __future__ import annotations

import importlib
import sys

import click
import msgspec
import orjson

MEASUREMENTS = {
    "beside": ("loadtest._beside", "ours and another controller, LOADTEST_PEER, in turns (ten minutes)"),
    "overhead": ("loadtest._overhead", "what the embedded cluster adds to each task of a chain of 18"),
    "compiler": ("loadtest._compiler", "time and memory of compiling and parsing large workflows"),
    "floor": ("loadtest._floor", "what the smallest client spends on a task's pod"),
    "footprint": ("loadtest._footprint", "seconds to import the controller, megabytes that it idles with"),
    "informers": ("loadtest._informers", "what following pods costs, beside client-go, kubernetes-asyncio and kopf"),
    "killed": ("loadtest._killed", "a controller that is killed again and again: what is lost, what runs twice"),
    "queue": ("loadtest._work_queue", "the work queue with a thousand tenants"),
    "scale": ("loadtest._scale", "fan-outs of up to 50,000 nodes, up to 10,000 workflows at once (half an hour)"),
    "scenarios": ("loadtest._scenarios", "a controller under load on a real API server"),
    "transport": ("loadtest._transport", "CPU of a request by our HTTP client, relative to aiohttp's"),
}

LONG = frozenset({"scale", "beside"})
"""Measured only where they are asked for by name."""


@click.command()
@click.argument("names", nargs=-1)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def main(names: tuple[str, ...], output: str) -> None:
    """Measure NAMES (all but the long ones where none is given) and print what was found beside what it should be."""
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        known = "\n".join(f"  {name:<10} {text}" for name, (_, text) in MEASUREMENTS.items())
        raise click.UsageError(f"there is no measurement {unknown[0]!r}; there are:\n{known}")
    for name in names or [name for name in MEASUREMENTS if name not in LONG]:
        if output == "text":
            click.echo(f"{name}: {MEASUREMENTS[name][1]}", err=True)
        for line in importlib.import_module(MEASUREMENTS[name][0]).measure():
            click.echo(orjson.dumps(msgspec.to_builtins(line)) if output == "json" else f"  {line.row()}")


if __name__ == "__main__":
    sys.exit(main())
