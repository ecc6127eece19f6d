"""Options of measurements."""

from __future__ import annotations

import sys
from pathlib import Path

import click

PROPELLER = (
    f"{sys.executable} -m propeller.cli controller --kubeconfig {{kubeconfig}} --metrics-port {{port}} --no-elect "
    "--log-level warning --metadata-prefix file://{directory}/metadata"
)
"""The command line of our controller."""


def sizes(text: str) -> tuple[int, ...]:
    """Numbers with commas between; none if it is empty."""
    try:
        found = tuple(int(size) for size in text.split(",") if size)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 10,500,5000") from None
    if any(size < 1 for size in found):
        raise click.BadParameter(f"{text!r} has a size below 1")
    return found


SCALE = click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply all sizes that are not given, such as by 0.1 for a quick look.",
)
ONLY = click.option(
    "--only",
    multiple=True,
    metavar="BEGINNING",
    help="Only scenarios whose names begin so, such as 'fan-out'; may be given several times.",
)
CRD = click.option(
    "--crd",
    type=click.Choice(["propeller", "flyte"]),
    default="propeller",
    show_default=True,
    help="Whose resource definition is installed. Flyte's has no status subresource: a controller that writes whole "
    "resources, as FlytePropeller does, needs it.",
)
CONTROLLER = click.option(
    "--controller",
    default=PROPELLER,
    metavar="COMMAND",
    help="Command line of the controller to measure, with {kubeconfig}, {directory} and {port} in it where it needs "
    "them; `propeller controller` if not given. loadtest/flytepropeller has that of FlytePropeller.",
)
PEER = click.option(
    "--peer",
    required=True,
    metavar="COMMAND",
    help="Command line of the other controller, as for --controller.",
)
QUEUE = click.option(
    "--peer",
    type=click.Choice(["kueue"]),
    help="Measure beside this queue, and beside none: half an hour. `python tools/assets.py --only kueue` builds it.",
)
PICTURE = click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    default="fairness.png",
    show_default=True,
    callback=lambda context, parameter, value: value if str(value) != "." else None,
    help="Where to draw shares over time: a .png, .svg or .pdf file; '' for nowhere.",
)
SERVER = click.option(
    "--server",
    type=click.Choice(["embedded", "real"]),
    default="real",
    show_default=True,
    help="The API server: kube-apiserver, or the embedded one in a process of its own.",
)
SEED = click.option(
    "--seed", type=int, default=1, show_default=True, help="What the moments are drawn from at which it is killed."
)
SERVERS = click.option(
    "--servers", type=sizes, metavar="NUMBERS", help="API servers among which a table divides the executions; 1."
)
PROCESSES = click.option("--processes", type=sizes, metavar="NUMBERS", help="Processes; 1,2,4 if not given.")
FAN_OUTS = click.option(
    "--fan-outs",
    type=sizes,
    metavar="NUMBERS",
    help="Nodes of the fan-outs on a real API server; 10,500,5000,50000 if not given.",
)
EMBEDDED_FAN_OUTS = click.option(
    "--embedded-fan-outs",
    type=sizes,
    metavar="NUMBERS",
    help="Nodes of those on the embedded server; 5000,50000 if not given.",
)
CONCURRENT = click.option(
    "--concurrent", type=sizes, metavar="NUMBERS", help="Workflows at once; 100,2000,10000 if not given, '' for none."
)

TOKENS_PEER = click.option(
    "--peer",
    type=click.Choice(["flytepropeller"]),
    help="With --backend redis: processes that are killed in a flood, ours and those of FlytePropeller's resource "
    "manager, which is built with Go (five minutes).",
)
BACKEND = click.option(
    "--backend",
    type=click.Choice(["memory", "redis"]),
    default="memory",
    show_default=True,
    help="Where tokens are: in one process, or in a Redis that four share.",
)
