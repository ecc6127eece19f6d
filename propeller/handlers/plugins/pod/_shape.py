"""Make a task's pod from what its author wrote and what the platform adds: all but what differs between its pods.

Guarantees
    Computed once for nodes without overrides of their own, then shared by their pods. A change of a setting, of a
    PodTemplate or of an override gives another shape.
    What is checked against the policy for pods is what the author wrote, without what the platform adds.
Order
    FlytePropeller's: the author's pod, or the node's override of it; resources; the platform's defaults; the
    PodTemplate as base; requirements on machines; shared memory; the node's image; secrets.
Source
    flytek8s/pod_helper.go of FlytePropeller 1.16, ApplyFlytePodConfiguration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec
from flyteidl.core import security_pb2, tasks_pb2

from propeller.errors import Invalid
from propeller.handlers.plugins._metadata import is_interruptible, others_annotations, others_labels
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins._templates import PodTemplate
from propeller.handlers.plugins.pod._arguments import arguments
from propeller.handlers.plugins.pod._dataloader import LOADERS, add_dataloader
from propeller.handlers.plugins.pod._extended import add_shared_memory, extended_resources
from propeller.handlers.plugins.pod._merge import merge_onto_template, template_resources
from propeller.handlers.plugins.pod._placement import (
    apply_accelerator,
    apply_defaults,
    apply_environment,
    apply_requirements,
)
from propeller.handlers.plugins.pod._policy import check_pod
from propeller.handlers.plugins.pod._raw import RAW_CONTAINER, RawPod, raw_pod
from propeller.handlers.plugins.pod._resources import Requirements, completed, resolve, within
from propeller.handlers.plugins.pod._secrets import add_secrets, marks_of_secrets, requests_of
from propeller.handlers.plugins.pod._template import Text, check_argument, names_in, parse
from propeller.workflow import NodeSpec, NodeView, TaskResources

Json = dict[str, Any]

PLAIN = PodSettings(raw_output_prefix="")
"""What pods have without any setting."""

_LOGS_EXPLAIN = {"terminationMessagePolicy": "FallbackToLogsOnError"}
"""The kubelet adds the last lines of a container's log to its status if it fails. Flyte sets this for containers alone,
and not for those of pod templates."""

MAX_SHAPES, MAX_SETTINGS = 256, 8
"""Of one task: nodes may have overrides, executions limits, and PodTemplates versions, as many as there are."""

MAX_SHAPES_BYTES = 1024 * 1024
"""Of templates, for one task's shapes: each takes several times its task's template, which may have hundreds of KiB."""


class ContainerShape(msgspec.Struct, frozen=True, eq=False):
    """A container without what differs between pods. `own` are its fixed fields."""

    own: Json
    command: tuple[Text, ...]
    args: tuple[Text, ...]
    env: tuple[Json, ...]
    resources: Requirements


class Shape(msgspec.Struct, frozen=True, eq=False):
    """A task's pod without what differs between pods. Pods share its parts: do not change them.

    The container of a container task is named after its pod: then `primary` is "".
    """

    spec: Json
    """Without its containers."""
    init_containers: tuple[ContainerShape, ...]
    containers: tuple[ContainerShape, ...]
    primary: str
    names_primary: bool
    """Whether an annotation says which container counts."""
    labels: dict[str, str]
    annotations: dict[str, str]
    trusted_annotations: dict[str, str]
    """Those of them that are the platform's."""
    variables: dict[str, str]
    """By which a task knows who it is."""
    has_links: bool
    """Whether the task shows links into Flyte's console."""
    names: frozenset[str]
    """Values that its templates name."""
    check: Callable[[], None]
    """Raises Invalid if the author asks for something that the policy for pods forbids. Looks once if it does not."""

    @property
    def needs_template(self) -> bool:
        """Whether a command contains `{{.taskTemplatePath}}`, as those of flytekit's prebuilt-container tasks do."""
        return "tasktemplatepath" in self.names


class _Chosen(msgspec.Struct, frozen=True):
    """What a shape depends on, besides its task and settings."""

    overrides: Hashable
    platform: TaskResources
    interruptible: bool
    account: str
    template: Hashable


class _Shapes:
    """The shapes of a task, by settings."""

    def __init__(self, task: tasks_pb2.TaskTemplate) -> None:
        self.task = task
        self.room = max(1, min(MAX_SHAPES, MAX_SHAPES_BYTES // max(1, task.ByteSize())))
        self._of: dict[int, tuple[PodSettings, dict[_Chosen, Shape]]] = {}

    def of(self, settings: PodSettings) -> dict[_Chosen, Shape]:
        found = self._of.get(id(settings))
        if found is None:
            if len(self._of) >= MAX_SETTINGS:
                self._of.clear()
            found = self._of[id(settings)] = settings, {}
        return found[1]


def shape_of(node: NodeView, settings: PodSettings = PLAIN, *, strict: bool = True) -> Shape:
    """Return the shape of a task node's pods. Raises Invalid if the task cannot be a pod, is malformed, or names a
    PodTemplate that there is not; unless `strict`, it is then without one.
    """
    execution, plan, spec = node.execution, node.graph.plan, node.spec
    shapes = plan.of_task(spec.task, _Shapes)
    template = _template_of(shapes.task, execution.info.namespace, settings, strict=strict)
    chosen = _Chosen(
        _overrides(spec),
        platform_resources(node, settings),
        is_interruptible(node),
        service_account(node),
        None if template is None else template.version,
    )
    known = shapes.of(settings)
    if (found := known.get(chosen)) is None:
        found = _shape(shapes.task, spec, chosen, template, settings)
        if len(known) >= shapes.room:
            known.clear()
        known[chosen] = found
    return found


def can_be_pod(task: tasks_pb2.TaskTemplate) -> bool:
    """Whether the task has a container or a pod template that could be run."""
    try:
        raw_pod(task)
    except Invalid:
        return False
    return True


def platform_resources(node: NodeView, settings: PodSettings) -> TaskResources:
    """Return the defaults and limits of resources of a node's execution, completed by the operator's rules."""
    info, rules = node.execution.info, settings.defaults.task_resources
    given = info.spec.execution_config.task_resources
    return completed(given, rules, info.project, info.domain) if rules else given


def service_account(node: NodeView) -> str:
    """Return the service account. FlyteAdmin writes it in two places; if they differ, FlytePropeller uses the
    resource's own.
    """
    spec = node.execution.info.spec
    run_as = spec.security_context.run_as
    return spec.service_account_name or (run_as.k8s_service_account if run_as is not None else "")


def _overrides(node: NodeSpec) -> Hashable:
    template, extended = bytes(node.pod_template), bytes(node.extended_resources)
    if not node.resources and not node.container_image and template == extended == b"{}":
        return None
    amounts = tuple((what, tuple(sorted(amounts.items()))) for what, amounts in (node.resources or {}).items())
    return amounts, node.container_image, template, extended


def template_name(task: tasks_pb2.TaskTemplate, settings: PodSettings) -> str:
    """Return the name of the PodTemplate that is the base of a task's pods, "" if none is."""
    return str(task.metadata.pod_template_name or settings.defaults.template)


def _template_of(
    task: tasks_pb2.TaskTemplate, namespace: str, settings: PodSettings, *, strict: bool
) -> PodTemplate | None:
    """Return the PodTemplate that is the base of a task's pods. Raises Invalid if the task names one that there is
    not, and `strict`; the default one may be missing.
    """
    name = template_name(task, settings)
    if not name or settings.templates is None:
        return None
    shared = settings.defaults.template_namespace
    found = settings.templates.find(namespace, name) or settings.templates.find(shared, name)
    if found is None and task.metadata.pod_template_name and strict:
        raise Invalid(
            f"task {task.id.name} names PodTemplate {name!r}, which is neither in namespace {namespace} nor in {shared}"
        )
    return found


def _shape(
    task: tasks_pb2.TaskTemplate, node: NodeSpec, chosen: _Chosen, template: PodTemplate | None, settings: PodSettings
) -> Shape:
    defaults = settings.defaults
    raw = raw_pod(task, node, defaults.gpu_resource)
    spec = {**raw.spec}
    base = {} if template is None else template.spec
    for field in ("initContainers", "containers"):
        if field in spec:
            spec[field] = [_sized(found, field, raw, base, node, chosen, settings) for found in spec[field]]
    add_dataloader(spec, raw.primary, task, settings)
    names = (name for one in spec["containers"] for amounts in one["resources"].values() for name in amounts)
    apply_defaults(spec, names, defaults, interruptible=chosen.interruptible)
    apply_environment(spec, raw.primary, defaults)
    if chosen.account and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = chosen.account
    labels, annotations = raw.labels, raw.annotations
    if template is not None:
        spec = merge_onto_template(base, spec, raw.primary)
        labels, annotations = {**template.labels, **labels}, {**template.annotations, **annotations}
    extended = extended_resources(task, node)
    apply_requirements(spec, defaults, interruptible=chosen.interruptible)
    if extended.HasField("gpu_accelerator"):
        apply_accelerator(spec, extended.gpu_accelerator, defaults)
    if extended.HasField("shared_memory"):
        add_shared_memory(spec, raw.primary, extended.shared_memory)
    if node.container_image:
        next(found for found in spec["containers"] if found["name"] == raw.primary)["image"] = node.container_image
    secrets = requests_of(task)
    late = _add_secrets(spec, secrets, settings)
    marks = marks_of_secrets(secrets, defaults.secrets)
    of_task = task.metadata.metadata
    trusted = defaults.annotations | ({} if template is None else template.annotations)
    return _finished(
        task,
        spec,
        raw.primary,
        labels={**defaults.labels, **others_labels({**labels, **of_task.labels}), **marks.labels},
        annotations={
            **defaults.annotations,
            **others_annotations({**annotations, **of_task.annotations}),
            **marks.annotations,
        },
        trusted=trusted,
        late=late,
        check=_check_of(task, raw, template, chosen.account, settings),
    )


def _sized(
    container: Json,
    field: str,
    raw: RawPod,
    template: Json,
    node: NodeSpec,
    chosen: _Chosen,
    settings: PodSettings,
) -> Json:
    """Return the container with its resources. Sidecars are only cut to the execution's limits; others get the node's
    overrides and the defaults as well.
    """
    is_init = field == "initContainers"
    is_primary = not is_init and container["name"] == raw.primary
    own = container.get("resources") or {}
    if template:
        own = template_resources(template, field, container, own, is_primary=is_primary)
    gpu = settings.defaults.gpu_resource
    if is_primary or (is_init and container.get("restartPolicy") != "Always"):
        found = resolve(own, node.resources, chosen.platform, gpu)
    else:
        found = within(own, chosen.platform, gpu)
    return {**_LOGS_EXPLAIN, **container, "resources": found}


def _check_of(
    task: tasks_pb2.TaskTemplate, raw: RawPod, template: PodTemplate | None, account: str, settings: PodSettings
) -> Callable[[], None]:
    """Return the check of what the author wrote; of the PodTemplate, too, if that is not trusted."""
    spec, annotations = {**raw.spec}, {**raw.annotations, **task.metadata.metadata.annotations}
    if template is not None and not settings.policy.trusts(template.namespace):
        spec = merge_onto_template(template.spec, spec, raw.primary)
        annotations = {**template.annotations, **annotations}
    if variables := add_secrets(spec, requests_of(task), settings.defaults.secrets):
        first, *others = spec["containers"]
        spec["containers"] = [{**first, "env": [*(first.get("env") or ()), *variables]}, *others]
    pod = {"spec": spec, "metadata": {"annotations": annotations}}
    return functools.cache(functools.partial(check_pod, pod, account, settings.policy))


def _finished(
    task: tasks_pb2.TaskTemplate,
    spec: Json,
    primary: str,
    *,
    labels: dict[str, str],
    annotations: dict[str, str],
    trusted: dict[str, str],
    late: tuple[Json, ...],
    check: Callable[[], None],
) -> Shape:
    init_containers = tuple(_of_container(found, task.type, late) for found in spec.get("initContainers", ()))
    containers = tuple(_of_container(found, task.type, late) for found in spec["containers"])
    texts = [text for found in (*init_containers, *containers) for text in (*found.command, *found.args)]
    return Shape(
        spec={key: value for key, value in spec.items() if key not in {"containers", "initContainers"}},
        init_containers=init_containers,
        containers=containers,
        primary=primary,
        names_primary=len(containers) > 1 or task.type != RAW_CONTAINER,
        labels=labels,
        annotations=annotations,
        trusted_annotations=trusted,
        variables={
            "FLYTE_INTERNAL_TASK_PROJECT": task.id.project,
            "FLYTE_INTERNAL_TASK_DOMAIN": task.id.domain,
            "FLYTE_INTERNAL_TASK_NAME": task.id.name,
            "FLYTE_INTERNAL_TASK_VERSION": task.id.version,
        },
        has_links="link_type" in task.config,
        names=frozenset(names_in(texts)),
        check=check,
    )


def _add_secrets(spec: Json, secrets: Sequence[security_pb2.Secret], settings: PodSettings) -> tuple[Json, ...]:
    """Add the task's secrets to all containers but those that load its files."""
    own = spec.get("initContainers") or ()
    kept = [found for found in own if found["name"] not in LOADERS]
    if len(kept) == len(own):
        return add_secrets(spec, secrets, settings.defaults.secrets)
    without = {**spec, "initContainers": kept}
    late = add_secrets(without, secrets, settings.defaults.secrets)
    given = {found["name"]: found for found in without["initContainers"]}
    spec.update(without, initContainers=[given.get(found["name"], found) for found in own])
    return late


def _of_container(container: Json, task_type: str, late: tuple[Json, ...]) -> ContainerShape:
    env = tuple(container.get("env") or ())
    for variable in env:
        if value := variable.get("value"):  # no runtime starts a container with one that cannot be passed on
            check_argument(f"variable {variable.get('name', '')!r}", f"{variable.get('name', '')}={value}")
    late = () if container["name"] in LOADERS else late
    named = {variable.get("name") for variable in env}
    return ContainerShape(
        own={key: value for key, value in container.items() if key not in {"command", "args", "env", "resources"}},
        command=tuple(map(parse, container.get("command") or ())),
        args=tuple(map(parse, arguments(task_type, container.get("args") or ()))),
        env=(*env, *(variable for variable in late if variable["name"] not in named)),
        resources=container.get("resources") or {},
    )
