"""Fill the arguments of a container whose task a connector runs: they go to its service, and not to a process."""

from __future__ import annotations

from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._arguments import arguments
from propeller.handlers.plugins.pod._template import names_in, parse, render
from propeller.handlers.plugins.pod._template_variables import template_values
from propeller.wire import ByName
from propeller.workflow import NodeView


def connector_arguments(node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> list[str]:
    """Return the arguments, with inputs and Flyte's values in the place of templates. Raises Invalid."""
    task = node.graph.plan.task(node.spec.task)
    parsed = [parse(text) for text in arguments(task.type, task.container.args)]
    values = template_values(node, attempt, settings, names_in(parsed))
    filled = render(parsed, values, inputs)
    # what was filled is escaped for Kubernetes, which does not read it here
    return [
        text if isinstance(origin, str) else text.replace("$$", "$")
        for origin, text in zip(parsed, filled, strict=True)
    ]
