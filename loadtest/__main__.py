"""`python -m loadtest [NAME]`: measure, and print a table."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec
import orjson

from loadtest._options import (
    BACKEND,
    CONCURRENT,
    CONTROLLER,
    CRD,
    EMBEDDED_FAN_OUTS,
    FAN_OUTS,
    ONLY,
    PEER,
    PICTURE,
    PROCESSES,
    QUEUE,
    SCALE,
    SEED,
    SERVER,
    SERVERS,
    TOKENS_PEER,
)
from propeller.errors import PropellerError
from tools.assets import bin_directory

Option = Callable[[Callable[..., None]], Callable[..., None]]


class Measurement(msgspec.Struct, frozen=True):
    """`module` has a function `measure`, which takes the options by name and gives lines of the table."""

    module: str
    text: str
    options: tuple[Option, ...] = ()
    long: bool = False
    """Whether it is run only if it is asked for by name."""


MEASUREMENTS = {
    "beside": Measurement(
        "_beside",
        "Ours and another controller of the same resource, in turns on one API server (ten minutes).",
        (PEER, CONTROLLER, ONLY, SCALE),
        long=True,
    ),
    "children": Measurement(
        "_children",
        "2,000 executions that one starts: controller CPU for each beside that of a workflow by itself, memory, bytes "
        "in etcd, with a closure that they share and without (five minutes; --scale 0.1 is a quick look).",
        (SCALE, SERVER, CONTROLLER),
        long=True,
    ),
    "overhead": Measurement("_overhead", "What the embedded cluster adds to each task of a chain of 18."),
    "clusters": Measurement(
        "_clusters", "What a controller of ten clusters costs while there is nothing to do (a minute).", long=True
    ),
    "connectors": Measurement(
        "_connectors", "What it costs to look at 1,000 jobs of a connector (two minutes).", long=True
    ),
    "compiler": Measurement("_compiler", "Time and memory of compiling and parsing large workflows."),
    "fairness": Measurement(
        "_fairness",
        "Tenants of weight 1:2:4 in a flood: their shares of slots, a small tenant's wait, and the cost, also beside "
        "Kueue (five minutes).",
        (QUEUE, PICTURE, SCALE),
        long=True,
    ),
    "floor": Measurement("_floor", "What the smallest client spends on a task's pod."),
    "footprint": Measurement("_footprint", "Seconds to import the controller, megabytes that it idles with."),
    "informers": Measurement(
        "_informers",
        "What following pods costs, beside client-go, kubernetes-asyncio and kopf; then ours with many pods.",
        (SCALE,),
    ),
    "killed": Measurement(
        "_killed",
        "A controller that is killed again and again: what is lost, what runs twice.",
        (SCALE, SEED),
    ),
    "limits": Measurement(
        "_limits",
        "Controller CPU for a task with three pools and a quota, relative to without any (five minutes).",
        (ONLY, SCALE),
        long=True,
    ),
    "maps": Measurement(
        "_maps",
        "A map task of 100,000 items: controller CPU for an item beside that of a plain task, memory, status (half an "
        "hour; --scale 0.05 is a quick look).",
        (SCALE, SERVER, CONTROLLER),
        long=True,
    ),
    "queue": Measurement("_work_queue", "The work queue with a thousand tenants."),
    "routing": Measurement("_routing", "A decision of the routing table among 50 clusters by 1,000 rules."),
    "scale": Measurement(
        "_scale",
        "Does a task cost the same in a workflow of 10 nodes and of 50,000, among 100 workflows and among 10,000? "
        "(half an hour)",
        (FAN_OUTS, EMBEDDED_FAN_OUTS, CONCURRENT, SCALE, CONTROLLER),
        long=True,
    ),
    "shards": Measurement(
        "_shards",
        "Controllers that divide the workflows, of one API server or several: one is killed, one joins, one leaves.",
        (SCALE, SEED, SERVERS, PROCESSES),
    ),
    "scenarios": Measurement(
        "_scenarios",
        "A controller under load on a real API server: requests, CPU and latency for each task, beside what the "
        "smallest client spends on the same pods.",
        (ONLY, SCALE, CONTROLLER, CRD),
    ),
    "tokens": Measurement(
        "_tokens",
        "Tokens of the resource manager: cost of a claim, memory of those that wait, fair shares; or of four processes "
        "that share them in Redis, also if they are killed, beside FlytePropeller's.",
        (BACKEND, TOKENS_PEER, SCALE),
    ),
    "transport": Measurement("_transport", "CPU of a request by our HTTP client, relative to aiohttp's."),
}

OUTPUT = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group(invoke_without_command=True, context_settings={"max_content_width": 120})
@OUTPUT
@click.pass_context
def main(context: click.Context, output: str) -> None:
    """Measure, and print each figure beside its budget: comparisons are within one run, as machines differ.

    Without a command all but the long measurements run. `NAME --help` shows the options of one.
    """
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        os.environ["KUBEBUILDER_ASSETS"] = str(bin_directory())  # of `make assets`
    context.default_map = {name: {"output": output} for name in COMMANDS}
    if context.invoked_subcommand is None:
        for name, measurement in MEASUREMENTS.items():
            if not measurement.long:
                context.invoke(COMMANDS[name], output=output)


def command_of(name: str, measurement: Measurement) -> click.Command:
    """The command of one measurement, whose module is imported when it runs."""

    def run(*, output: str, **options: Any) -> None:
        if output == "text":
            click.echo(f"{name}: {measurement.text}", err=True)
        try:
            for line in importlib.import_module(f"loadtest.{measurement.module}").measure(**options):
                click.echo(orjson.dumps(msgspec.to_builtins(line)) if output == "json" else f"  {line.row()}")
        except PropellerError as error:
            raise click.ClickException(str(error)) from error

    function: Callable[..., None] = run
    options: tuple[Option, ...] = (*measurement.options, OUTPUT)
    for option in reversed(options):
        function = option(function)
    return click.command(name, help=measurement.text)(function)


COMMANDS = {name: command_of(name, measurement) for name, measurement in MEASUREMENTS.items()}
for command in COMMANDS.values():
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main(prog_name="python -m loadtest"))
