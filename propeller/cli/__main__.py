"""`propeller`: the command line. Commands are imported when they are called, so that each starts fast."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import NoReturn

import click

from propeller.cli._exit_codes import (
    BAD_CALL,
    INTERRUPTED,
    PLATFORM_FAILED,
    SUCCEEDED,
    TERMINATED,
    Terminated,
    error_document,
    only_error,
    report_error,
    wants_json,
)
from propeller.cli._output import Unwritten, say_defect, say_json
from propeller.errors import PropellerError
from propeller.redaction import redact
from propeller.telemetry import configure_logs

_COMMANDS = {
    "run": ("propeller.cli.commands._run", "Run a flytekit workflow or task on this machine, without a cluster."),
    "controller": ("propeller.cli.commands._controller", "Run the controller against a cluster."),
    "compile": ("propeller.cli.commands._compile", "Compile a flytekit file to FlyteWorkflow resources."),
    "register": ("propeller.cli.commands._register", "Register tasks, workflows and launch plans of flytekit files."),
    "status": ("propeller.cli.commands._status", "Show how an execution stands."),
    "get": (
        "propeller.cli.commands._get",
        "Show inputs, outputs, error, deck or logs of an execution; download files.",
    ),
    "lineage": (
        "propeller.cli.commands._lineage",
        "Say which execution, task version and inputs an output comes from.",
    ),
    "queue": ("propeller.cli.commands._queue", "Show who waits for tokens of which pool, and behind whom."),
    "cache": ("propeller.cli.commands._cache", "List and remove cached outputs of tasks; say why a node's were not."),
    "recover": ("propeller.cli.commands._recover", "Run an execution again, without the tasks that succeeded."),
    "relaunch": ("propeller.cli.commands._relaunch", "Run an execution again, all of it."),
    "signal": ("propeller.cli.commands._signal", "Give a value to a gate that waits for input."),
    "approve": ("propeller.cli.commands._approve", "Approve what waits for approval, or reject it."),
    "tenants": ("propeller.cli.commands._tenants", "Limits of tenants, and their namespaces, quotas and accounts."),
    "routes": ("propeller.cli.commands._routes", "Say which cluster executions go to, and why; check a routing table."),
    "clusters": (
        "propeller.cli.commands._clusters",
        "Show state, health and load of the clusters that executions run on.",
    ),
    "rollout": ("propeller.cli.commands._rollout", "Let a new version of the controller take the work step by step."),
    "install": ("propeller.cli.commands._install", "Print what a cluster needs: CRD and RBAC."),
    "settings": ("propeller.cli.commands._settings", "Print the settings in force, and where each comes from."),
    "dataloader": (
        "propeller.cli._dataloader",
        "Move a raw container's inputs and outputs; for the pods of ContainerTasks.",
    ),
    "cluster": ("propeller.cli.commands._cluster", "Serve the embedded cluster over HTTP, for kubectl and tests."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="propeller")
def cli() -> None:
    """Run Flyte workflows: on this machine without a cluster, or on Kubernetes at scale.

    \b
    Try:
      propeller run flow.py my_workflow --a 3      run on this machine
      propeller run flow.py my_workflow --help     what the workflow takes
      propeller install --print | kubectl apply -f -
      propeller controller                         run the controller on the current cluster
    """


def main() -> None:
    """Entry point: every foreseen error is one message and an exit code, never a traceback. With `--output json`
    standard output has a JSON document for it, too.
    """
    configure_logs("warning")
    as_json = wants_json(sys.argv[1:])

    def end(code: int, name: str, message: str) -> NoReturn:
        if as_json:
            with contextlib.suppress(Unwritten):  # the error is on standard error
                say_json(error_document(name, "SYSTEM" if code == PLATFORM_FAILED else "USER", message))
        sys.exit(code)

    try:
        code = cli.main(prog_name="propeller", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else SUCCEEDED)
    except click.ClickException as error:
        error.show()
        end(BAD_CALL, "BadCall", error.format_message())
    except PropellerError as error:
        end(report_error(error), type(error).__name__, str(error))
    except Terminated:
        end(TERMINATED, "Terminated", "ended by SIGTERM")
    except (click.Abort, KeyboardInterrupt):
        end(INTERRUPTED, "Interrupted", "interrupted")
    except Exception as error:  # noqa: BLE001 - a defect, which Python would print with whatever is in its texts
        foreseen = only_error(error) if isinstance(error, ExceptionGroup) else None
        if foreseen is not None:
            end(report_error(foreseen), type(foreseen).__name__, str(foreseen))
        say_defect(error)
        end(PLATFORM_FAILED, "InternalError", redact(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
