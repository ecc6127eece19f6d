"""Logs of a task's attempt: those of its pod, or of one that its job has made; and links: to where the platform keeps
them (`log_links.templates`), and to the dashboards of an operator's resource.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec

from propeller.cli._made_pods import chosen, names_of, pods_of_attempt
from propeller.cli._output import say, say_json
from propeller.config import OperatorName
from propeller.errors import Invalid, NotFound, PropellerError
from propeller.handlers.plugins import PRIMARY_CONTAINER
from propeller.handlers.plugins.operators import OPERATORS, Shown, shown
from propeller.kube import PODS, Client
from propeller.telemetry import LogLink, TaskLog, pod_values, task_logs
from propeller.workflow import NodeView

_POD_JSON = PODS.typed(dict[str, Any])
_PRIMARY = (PRIMARY_CONTAINER, "kubectl.kubernetes.io/default-container")
"""Annotations that name the container of the task itself: Flyte's and kubectl's."""


class Attempt(NamedTuple):
    """An attempt, from 0, of a task node, and the operator's templates of links."""

    view: NodeView
    number: int
    templates: tuple[LogLink, ...]

    @property
    def pod(self) -> str:
        return self.view.execution.pod_name(self.view.number, self.number)

    @property
    def namespace(self) -> str:
        return self.view.execution.info.namespace


async def show_logs(attempt: Attempt, client: Client, name: str, *, as_json: bool) -> None:
    """Print the log of the attempt's own container, or of the pod of that `name` among those that the attempt's job has
    made; "" for the one that says most. Raises PropellerError, with the links, if its pod is gone.
    """
    pod = await _pod(attempt, client)
    made = None if pod is not None else await pods_of_attempt(attempt.view, attempt.pod, client)
    if made is not None:
        one = chosen(made, name)
        if len(made) > 1:
            say(f"pod {one.name}; another one with --pod: {names_of(made)}", to_stderr=True)
        pod = await client.get(_POD_JSON, one.name, attempt.namespace)
    elif name and name != attempt.pod:
        raise Invalid(f"--pod {name}: the attempt runs as pod {attempt.pod}, or its job is gone")
    if pod is None:
        whole = [link for link in await _links(attempt, pod, client) if link.uri]
        where = "".join(f"\n  {link.name}: {link.uri}" for link in whole)
        kept = (
            f"its logs are kept here:{where}"
            if whole
            else ("logs of pods that are deleted are kept by the cluster's logging only (setting log_links.templates)")
        )
        raise PropellerError(
            f"pod {attempt.namespace}/{attempt.pod} is gone, or its node had its outputs from the cache; {kept}"
        )
    container, shown = _container(pod), str(pod["metadata"]["name"])
    text = (await client.pod_log(shown, attempt.namespace, container=container)).decode(errors="replace")
    if as_json:
        of = {"pod": shown, "namespace": attempt.namespace, "container": container, "log": text}
        say_json(of if made is None else of | {"pods": [one.name for one in made]})
    else:
        say(text, end="")


async def show_links(attempt: Attempt, client: Client, *, as_json: bool) -> None:
    """Print the links to the attempt's dashboards and logs. Raises PropellerError if there are none."""
    links = await _links(attempt, await _pod(attempt, client), client)
    if not links:
        raise PropellerError(
            "there are no links for this task: the setting log_links.templates has those to logs, and --config FILE "
            "names the file of settings"
        )
    if as_json:
        say_json(
            {"pod": attempt.pod, "namespace": attempt.namespace, "links": [msgspec.to_builtins(link) for link in links]}
        )
        return
    for link in links:
        say(f"{link.name}: {link.uri or 'its pod is gone, or not there yet, and has ' + ', '.join(link.missing)}")


async def _pod(attempt: Attempt, client: Client) -> dict[str, Any] | None:
    try:
        return await client.get(_POD_JSON, attempt.pod, attempt.namespace)
    except NotFound:
        return None


def _container(pod: dict[str, Any]) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    containers: list[dict[str, Any]] = pod["spec"]["containers"]
    named = next((annotations[key] for key in _PRIMARY if key in annotations), "")
    return named if any(one["name"] == named for one in containers) else str(containers[0]["name"])


async def _links(attempt: Attempt, pod: dict[str, Any] | None, client: Client) -> list[TaskLog]:
    view = attempt.view
    task = view.graph.plan.task(view.spec.task)
    of_resource = await _shown(attempt, task.type, client)
    values = _known(attempt) | (pod_values(pod, _container(pod)) if pod is not None else {}) | of_resource.values
    return [
        *(TaskLog(name, uri) for name, uri in of_resource.links),
        *task_logs(attempt.templates, values, task.type, task.config),
    ]


async def _shown(attempt: Attempt, task_type: str, client: Client) -> Shown:
    """What an operator's resource has to show; nothing if the task runs as another one, or it is gone."""
    operator = OPERATORS.get(task_type)  # type: ignore[call-overload]  # of any task
    if operator is None:
        return Shown()
    try:
        obj = await client.get(operator.resource.typed(dict[str, Any]), attempt.pod, attempt.namespace)
    except NotFound:
        return Shown()
    return shown(cast("OperatorName", task_type), obj)


def _known(attempt: Attempt) -> dict[str, str]:
    """The values that stay known when the pod is gone. Its times are those of the node, then."""
    view, execution = attempt.view, attempt.view.execution
    task, info = view.graph.plan.task(view.spec.task).id, execution.info
    values = {
        "podName": attempt.pod,
        "generatedName": attempt.pod,
        "namespace": attempt.namespace,
        "taskID": task.name,
        "taskVersion": task.version,
        "taskProject": task.project,
        "taskDomain": task.domain,
        "taskRetryAttempt": str(attempt.number),
        "nodeID": execution.unique_id(view.number),
        "executionName": info.execution_name,
        "executionProject": info.project,
        "executionDomain": info.domain,
    }
    for which, offsets in (("Start", execution.started), ("Finish", execution.ended)):
        if offset := offsets[view.number]:
            moment = datetime.fromtimestamp(int(execution.created_at + offset), UTC)
            values |= {
                f"podRFC3339{which}Time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
                f"podUnix{which}Time": str(int(moment.timestamp())),
            }
    return values
