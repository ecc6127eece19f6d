"""Fill the arguments of a container whose task a connector runs: they go to its service, and not to a process."""

from __future__ import annotations

from propeller.errors import Invalid
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._arguments import arguments
from propeller.handlers.plugins.pod._template import check_argument, fill, names_in, parse
from propeller.handlers.plugins.pod._template_variables import template_values
from propeller.wire import ByName
from propeller.workflow import NodeView


def connector_arguments(node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> list[str]:
    """Return the arguments, with inputs and Flyte's values in the place of templates. Raises Invalid."""
    task = node.graph.plan.task(node.spec.task)
    texts = arguments(task.type, task.container.args)
    values = template_values(node, attempt, settings, names_in(map(parse, texts)))
    found = []
    for number, text in enumerate(texts):
        try:
            filled = fill(text, values, inputs)
        except Invalid as error:
            raise Invalid(f"args[{number}]: {error}") from None
        check_argument(f"args[{number}]", filled)  # the service gives it to a process in the end
        found.append(filled)
    return found
