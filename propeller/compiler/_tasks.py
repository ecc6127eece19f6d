"""A task by itself. Source: flytepropeller/pkg/compiler/task_compiler.go."""

from __future__ import annotations

from flyteidl.core import compiler_pb2, tasks_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._json import Unrepresentable, struct_to_json
from propeller.compiler._pods import find_pod_fault
from propeller.names import is_dns_label
from propeller.quantity import is_quantity

_RESOURCES = {value.number: value.name for value in tasks_pb2.Resources.ResourceName.DESCRIPTOR.values}


def compile_task(template: tasks_pb2.TaskTemplate) -> compiler_pb2.CompiledTask:
    """Check a task. Raises CompileErrors; their nodes are parts of the task: root, container, resources.CPU."""
    errors = Errors()
    if not template.HasField("id"):
        errors.add(ErrorCode.VALUE_REQUIRED, "root", "the task has no id")
    match template.WhichOneof("target"):
        case "container":
            _check_container(template, errors)
        case "k8s_pod":
            _check_pod(template.k8s_pod, errors)
    errors.raise_if_any()
    return compiler_pb2.CompiledTask(template=template)


def _check_container(template: tasks_pb2.TaskTemplate, errors: Errors) -> None:
    container, interface = template.container, template.interface
    if (interface.inputs.variables or interface.outputs.variables) and not (container.command or container.args):
        errors.add(ErrorCode.VALUE_REQUIRED, "container", "a container with inputs or outputs needs a command or args")
    if not container.image:
        errors.add(ErrorCode.VALUE_REQUIRED, "container", "the container has no image")
    for entry in (*container.resources.requests, *container.resources.limits):
        if not is_quantity(entry.value):
            name = _RESOURCES.get(entry.name, str(entry.name))
            message = f"{entry.value!r} is no quantity: write 500m, 2 or 1Gi"
            errors.add(ErrorCode.UNRECOGNIZED_VALUE, f"resources.{name}", message)


def _check_pod(pod: tasks_pb2.K8sPod, errors: Errors) -> None:
    if not pod.HasField("pod_spec"):
        errors.add(ErrorCode.INVALID_VALUE, "root", "the pod has no podSpec")
        return
    try:
        spec = struct_to_json(pod.pod_spec)
    except Unrepresentable as error:
        errors.add(ErrorCode.INVALID_VALUE, "root", f"the podSpec has no JSON form: {error}")
        return
    fault = find_pod_fault(spec)
    if fault:
        errors.add(ErrorCode.INVALID_VALUE, "root", f"the podSpec is malformed: {fault}")
        return
    for container in spec.get("containers") or ():
        name = (container or {}).get("name") or ""
        if not is_dns_label(name):
            message = f"container name {name!r} is no DNS label: lower-case letters, digits and -, at most 63"
            errors.add(ErrorCode.INVALID_VALUE, "root", message)
