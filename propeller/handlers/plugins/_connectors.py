"""Run tasks by Flyte's connectors: requests from nodes, states from answers.

Source
    flyteplugins/go/tasks/plugins/webapi/connector of FlytePropeller 1.16.
"""

from __future__ import annotations

from typing import Any

from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, identifier_pb2, literals_pb2, security_pb2, tasks_pb2
from google.protobuf import json_format

from propeller.connectors import Category, Channel, Directory, Nobody, Service, Unknown
from propeller.errors import CorruptBlob, ErrorKind, Invalid, NotFound, Unavailable
from propeller.handlers.plugins._metadata import IDENTITY_LABEL, attempt_metadata, is_interruptible, without_own
from propeller.handlers.plugins._remote_plugin import JOB_ANNOTATION, JobState, RemotePlugin, RemoteTask
from propeller.handlers.plugins.pod import connector_arguments, item_variables, pod_template, service_account
from propeller.storage import in_thread_if_large
from propeller.text import NAME_CHARACTERS, bounded, one_line
from propeller.wire import parse
from propeller.workflow import MAX_LINK_CHARACTERS, AttemptPhase, Failure, Job, Link, NodeView

FAILED = "TaskFailedWithError"
"""Error code of a job that its service reports as failed; FlytePropeller's."""

MAX_INFO_FIELDS_BYTES = 16 * 1024
"""Bytes of a custom_info that is shown."""

MAX_LINKS_READ = 20
"""Log links of an answer that are looked at."""

MAX_INPUT_MESSAGES = 200_000
"""Of an attempt's inputs, which are parsed for the request."""

_PHASE = execution_pb2.TaskExecution
_PENDING = frozenset({_PHASE.QUEUED, _PHASE.WAITING_FOR_RESOURCES, _PHASE.INITIALIZING})

_WORDS = {number: name for name, number in _PHASE.Phase.items() if number != _PHASE.UNDEFINED}

_OF_STATE = {
    agent_pb2.PENDING: _PHASE.INITIALIZING,
    agent_pb2.RUNNING: _PHASE.RUNNING,
    agent_pb2.SUCCEEDED: _PHASE.SUCCEEDED,
    agent_pb2.PERMANENT_FAILURE: _PHASE.FAILED,
    agent_pb2.RETRYABLE_FAILURE: _PHASE.RETRYABLE_FAILED,
}
"""Phases of the states that agents of before Flyte 1.10 answer with."""


def category_of(node: NodeView) -> Category:
    """Return the type of a node's task."""
    task = node.graph.plan.task(node.spec.task)
    return Category(task.type, task.task_type_version)


class ConnectorPlugin(RemotePlugin):
    """See the module's text. `directory` knows which service runs a type."""

    task_types = ()

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def find(self, node: NodeView) -> Service | Unknown | Nobody:
        """Return who runs a node's task."""
        return self._directory.find(category_of(node))

    async def create(self, task: RemoteTask) -> bytes | JobState:
        found = self.find(task.node)
        if not isinstance(found, Service):
            raise Unavailable(found.why)
        template, metadata = _template(task), _metadata(task)
        data = task.inputs.encode().tobytes()
        inputs = await in_thread_if_large(
            len(data), parse, literals_pb2.LiteralMap, data, MAX_INPUT_MESSAGES, f"the inputs of {task.node.log_name}"
        )
        if found.is_sync:
            header = agent_pb2.CreateRequestHeader(
                template=template, output_prefix=task.output_prefix, task_execution_metadata=metadata
            )
            return state_of(found.channel.name, await found.channel.execute(header, inputs))
        request = agent_pb2.CreateTaskRequest(
            inputs=inputs, template=template, output_prefix=task.output_prefix, task_execution_metadata=metadata
        )
        return await found.channel.create(request)

    async def get(self, job: Job, output_prefix: str) -> JobState:
        channel = self._channel(job)
        request = agent_pb2.GetTaskRequest(
            task_type=job.task_type, task_category=_category(job), resource_meta=job.id, output_prefix=output_prefix
        )
        return state_of(channel.name, await channel.get(request))

    async def delete(self, job: Job) -> None:
        channel = self._channel(job)
        request = agent_pb2.DeleteTaskRequest(
            task_type=job.task_type, task_category=_category(job), resource_meta=job.id
        )
        try:
            await channel.delete(request)
        except NotFound:
            return

    def service_of(self, job: Job) -> str:
        """Return the name of a job's service, "" if that is not known now."""
        if job.service in self._directory.services:
            return job.service
        found = self._directory.find(Category(job.task_type, job.version))
        return found.channel.name if isinstance(found, Service) else ""

    def _channel(self, job: Job) -> Channel:
        """Return the channel of a job's service: the one that has begun it, whatever the services list by now, as only
        that knows its id; if the settings name it no more, the one that runs its type. Raises Unavailable if none does.
        """
        if (begun_by := self._directory.services.get(job.service)) is not None:
            return begun_by
        found = self._directory.find(Category(job.task_type, job.version))
        if not isinstance(found, Service):
            raise Unavailable(found.why)
        return found.channel


def _category(job: Job) -> agent_pb2.TaskCategory:
    return agent_pb2.TaskCategory(name=job.task_type, version=job.version)


def _template(task: RemoteTask) -> tasks_pb2.TaskTemplate:
    """Return the task's template, with the arguments of its container filled in; or, of a task with a pod, the spec of
    the pod that it would be. Raises Invalid.
    """
    declared = task.node.graph.plan.task(task.node.spec.task)
    has_pod = declared.HasField("k8s_pod")
    if not declared.container.args and not has_pod:
        return declared
    template = tasks_pb2.TaskTemplate()
    template.CopyFrom(declared)
    if has_pod:
        pod = pod_template(task.node, task.attempt, task.inputs, task.settings)
        template.k8s_pod.pod_spec.Clear()
        json_format.ParseDict(_without_empty_lists(pod["spec"]), template.k8s_pod.pod_spec)
        return template
    template.container.args[:] = connector_arguments(task.node, task.attempt, task.inputs, task.settings)
    return template


def _without_empty_lists(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec whose containers lack the lists that are empty: to a reader that is not Kubernetes, no
    command and an empty one may be two things.
    """
    containers = {
        key: [{name: value for name, value in one.items() if value != []} for one in spec[key]]
        for key in ("containers", "initContainers")
        if key in spec
    }
    return spec | containers


def _metadata(task: RemoteTask) -> agent_pb2.TaskExecutionMetadata:
    node, execution = task.node, task.node.execution
    declared, info = node.graph.plan.task(node.spec.task), execution.info
    described = attempt_metadata(node, task.attempt, declared.id.name, {}, {})
    identity = identifier_pb2.TaskExecutionIdentifier(
        task_id=declared.id,
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(
            node_id=execution.unique_id(node.number),
            execution_id=identifier_pb2.WorkflowExecutionIdentifier(
                project=info.project, domain=info.domain, name=info.execution_name
            ),
        ),
        retry_attempt=task.attempt,
    )
    metadata = agent_pb2.TaskExecutionMetadata(
        task_execution_id=identity,
        namespace=info.namespace,
        # a job is found by its id: marks by which pods are found would only get into labels of other systems
        labels={key: value for key, value in described["labels"].items() if key != IDENTITY_LABEL},
        annotations=without_own(described["annotations"]) | {JOB_ANNOTATION: task.key},
        k8s_service_account=service_account(node),
        environment_variables=(info.spec.execution_config.environment_variables or {}) | item_variables(node),
        interruptible=is_interruptible(node),
    )
    run_as = info.spec.security_context.run_as
    if run_as is not None:
        metadata.identity.execution_identity = run_as.execution_identity
        metadata.identity.k8s_service_account = run_as.k8s_service_account
        metadata.identity.iam_role = run_as.iam_role
        if run_as.oauth2_client:
            _fill_client(metadata.identity.oauth2_client, run_as.oauth2_client)
    return metadata


def _fill_client(client: security_pb2.OAuth2Client, given: dict[str, Any]) -> None:
    """Fill in what the execution says of its OAuth client. Raises Invalid."""
    try:
        json_format.ParseDict(given, client)
    except json_format.ParseError as error:
        said = one_line(bounded(str(error), NAME_CHARACTERS))
        raise Invalid(f"securityContext.runAs.oauth2Client of the execution cannot be read: {said}") from error


def state_of(service: str, resource: agent_pb2.Resource) -> JobState:
    """Return what an answer says. Raises CorruptBlob for a phase that does not exist."""
    phase = resource.phase
    if phase == _PHASE.UNDEFINED:
        phase = _OF_STATE.get(resource.state, _PHASE.UNDEFINED)
    if (word := _WORDS.get(phase)) is None:
        raise CorruptBlob(
            f"connector {service} answers nonsense to GetTask: phase {resource.phase} and state {resource.state} "
            "are none of Flyte's"
        )
    links = tuple(
        Link(bounded(str(link.name), NAME_CHARACTERS), str(link.uri))
        for link in resource.log_links[:MAX_LINKS_READ]
        if len(link.uri) <= MAX_LINK_CHARACTERS
    )
    # bounded here, as what was seen last of each job is kept
    message, info = bounded(str(resource.message)), _info(resource)

    def state(what: AttemptPhase, failure: Failure | None = None, outputs: bytes | None = None) -> JobState:
        return JobState(what, word, message, links, info, outputs, failure)

    if phase == _PHASE.SUCCEEDED:
        given = resource.outputs.SerializeToString(deterministic=True) if resource.HasField("outputs") else None
        return state(AttemptPhase.SUCCEEDED, outputs=given)
    if phase in _PENDING:
        return state(AttemptPhase.PENDING)
    if phase == _PHASE.RUNNING:
        return state(AttemptPhase.RUNNING)
    return state(AttemptPhase.FAILED, _failure(phase, word, message, resource))


def _failure(phase: Any, word: str, message: str, resource: agent_pb2.Resource) -> Failure:
    """FlytePropeller's: a job that may be retried is counted on the budget of the task's retries."""
    said = message or f"its service says {word}, and not why"
    why = f"the job was aborted: {said}" if phase == _PHASE.ABORTED else f"failed to run the job: {said}"
    code, kind, recoverable = FAILED, ErrorKind.USER, phase == _PHASE.RETRYABLE_FAILED
    if resource.HasField("agent_error"):
        error = resource.agent_error
        code = one_line(bounded(error.code, NAME_CHARACTERS)) or code
        recoverable |= error.kind == agent_pb2.AgentError.RECOVERABLE
        if error.origin == execution_pb2.ExecutionError.SYSTEM:
            kind = ErrorKind.SYSTEM
    return Failure(code, why, kind, recoverable=recoverable)


def _info(resource: agent_pb2.Resource) -> str:
    if not resource.custom_info.fields or resource.custom_info.ByteSize() > MAX_INFO_FIELDS_BYTES:
        return ""
    try:
        return str(json_format.MessageToJson(resource.custom_info, indent=None))
    except (json_format.SerializeToJsonError, ValueError):  # a number that JSON does not have
        return ""
