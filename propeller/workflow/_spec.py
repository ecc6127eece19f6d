"""The FlyteWorkflow resource as FlyteAdmin and our compiler write it: the fields that we read, typed.

Field names and their odd casing are Flyte's (flytepropeller/pkg/apis/flyteworkflow/v1alpha1). Bindings, tasks and other
messages of flyteidl stay undecoded JSON (`msgspec.Raw`) until they are used.
"""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec

from propeller.workflow._caching import CacheOverride
from propeller.workflow._names import entity_path

EMPTY_OBJECT = msgspec.Raw(b"{}")

NOTHING = msgspec.Raw(b"")
"""The value of a field that the resource does not have. (msgspec treats `Raw | None` as None alone.)"""

START_NODE = "start-node"
END_NODE = "end-node"


class NodeKind(enum.StrEnum):
    START = "start"
    END = "end"
    TASK = "task"
    BRANCH = "branch"
    WORKFLOW = "workflow"
    GATE = "gate"
    ARRAY = "array"


class FailurePolicy(enum.StrEnum):
    """How a failed node affects the other nodes (flyteidl.core.WorkflowMetadata.OnFailurePolicy)."""

    FAIL_IMMEDIATELY = "FAIL_IMMEDIATELY"
    FAIL_AFTER_EXECUTABLE_NODES_COMPLETE = "FAIL_AFTER_EXECUTABLE_NODES_COMPLETE"


class Retry(msgspec.Struct, frozen=True, rename="camel"):
    min_attempts: int | None = None


class Case(msgspec.Struct, frozen=True):
    """One `if` of a branch: `condition` is a flyteidl.core.BooleanExpression, `then` the id of the node to run."""

    condition: msgspec.Raw = EMPTY_OBJECT
    then: str = ""


class BranchSpec(msgspec.Struct, frozen=True, rename="camel"):
    if_: Case = msgspec.field(name="if")
    else_if: tuple[Case, ...] | None = None
    else_: str = msgspec.field(name="else", default="")
    else_fail: dict[str, Any] | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        return (self.if_, *(self.else_if or ()))

    @property
    def targets(self) -> tuple[str, ...]:
        """The ids of every node that may be chosen."""
        return tuple(case.then for case in self.cases) + ((self.else_,) if self.else_ else ())


class LaunchPlanRef(msgspec.Struct, frozen=True):
    """The identifier of a launch plan (flyteidl.core.Identifier)."""

    project: str = ""
    domain: str = ""
    name: str = ""
    version: str = ""

    @property
    def path(self) -> str:
        """`project/domain/name/version`, each quoted: its key among the resource's launch plans, and in a registry."""
        return entity_path(self.project, self.domain, self.name, self.version)

    def __str__(self) -> str:
        return f"{self.name} (project {self.project!r}, domain {self.domain!r}, version {self.version!r})"


class WorkflowRef(msgspec.Struct, frozen=True, rename="camel"):
    launch_plan_ref_id: LaunchPlanRef | None = None
    sub_workflow_ref: str | None = None


class ArraySpec(msgspec.Struct, frozen=True, rename="pascal"):
    """A map task. `parallelism` None means the workflow's, 0 no limit; `data_mode` 1 gives each item its own inputs
    file. With `run_all_sub_nodes` every item runs, also if too many have failed already. Flyte's compiler drops these
    two.
    """

    sub_node_spec: NodeSpec
    parallelism: int | None = None
    min_successes: int | None = None
    min_success_ratio: float | None = None
    data_mode: int = msgspec.field(default=0, name="dataMode")
    bound_inputs: tuple[str, ...] | None = None
    run_all_sub_nodes: bool = False
    appends_index: bool = msgspec.field(default=False, name="-")
    """Ours: an item writes its outputs to its index below the output prefix that it is given (`_map_tasks`)."""

    def needed(self, size: int) -> int:
        """How many of `size` items must succeed (FlytePropeller: the number wins over the ratio, which rounds up)."""
        if self.min_successes is not None:
            return self.min_successes
        if self.min_success_ratio is not None:
            return math.ceil(self.min_success_ratio * size)
        return size


class ApproveCondition(msgspec.Struct, frozen=True, rename="camel"):
    """flyteidl.core.ApproveCondition: somebody approves the node's inputs, which are its outputs then."""

    signal_id: str = ""


class SignalCondition(msgspec.Struct, frozen=True, rename="camel"):
    """flyteidl.core.SignalCondition: somebody gives a value; `type` is a flyteidl.core.LiteralType."""

    signal_id: str = ""
    type: msgspec.Raw = EMPTY_OBJECT
    output_variable_name: str = ""


class SleepCondition(msgspec.Struct, frozen=True):
    """flyteidl.core.SleepCondition, with a protobuf duration such as 10s."""

    duration: str = ""


class GateSpec(msgspec.Struct, frozen=True):
    """What a gate node waits for: the one of the fields that `kind` names."""

    kind: str = ""
    approve: ApproveCondition | None = None
    signal: SignalCondition | None = None
    sleep: SleepCondition | None = None


class OutputAlias(msgspec.Struct, frozen=True):
    """Another name for an output: promises use `alias` instead of `var`."""

    var: str
    alias: str


class NodeSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    kind: NodeKind
    name: str = ""
    task: str = ""
    branch: BranchSpec | None = None
    workflow: WorkflowRef | None = None
    array: ArraySpec | None = None
    gate: GateSpec | None = None
    input_bindings: msgspec.Raw = NOTHING
    output_alias: tuple[OutputAlias, ...] = ()
    retry: Retry | None = None
    interruptible: bool | None = None
    execution_deadline: str = ""
    active_deadline: str = ""
    resources: dict[str, dict[str, str]] | None = None
    container_image: str = ""
    pod_template: msgspec.Raw = EMPTY_OBJECT
    extended_resources: msgspec.Raw = EMPTY_OBJECT
    cache: CacheOverride | None = None
    """Ours: Flyte's compiler drops what a node says about the cache."""

    @property
    def launch_plan(self) -> LaunchPlanRef | None:
        """The launch plan that the node starts, None if it is a node of another kind."""
        workflow = self.workflow
        return workflow.launch_plan_ref_id if workflow is not None and not workflow.sub_workflow_ref else None

    @property
    def has_attempts(self) -> bool:
        """Whether the node runs as attempts, each a resource: a task's pod, or a launch plan's execution."""
        return self.kind is NodeKind.TASK or self.launch_plan is not None


class Edges(msgspec.Struct, frozen=True):
    """Each node's dependencies. Its successors follow from them."""

    upstream: dict[str, tuple[str, ...]] = {}


class GraphSpec(msgspec.Struct, frozen=True, rename="camel"):
    """One workflow or sub-workflow."""

    id: str
    nodes: dict[str, NodeSpec]
    edges: Edges = Edges()
    on_failure: NodeSpec | None = None
    outputs: msgspec.Raw = EMPTY_OBJECT
    on_failure_policy: FailurePolicy | int = FailurePolicy.FAIL_IMMEDIATELY
    """The policy's name; old resources have its number."""


class ClosureSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The static part of the resource, which all executions of one workflow version share."""

    spec: GraphSpec
    tasks: dict[str, msgspec.Raw] = {}
    sub_workflows: dict[str, GraphSpec] | None = None
    launch_plans: dict[str, msgspec.Raw] | None = None
    """Ours: launch plans that nodes may start, by `LaunchPlanRef.path`. What is not here is in the registry."""


class ExecutionIdentity(msgspec.Struct, frozen=True):
    """flyteidl.core.WorkflowExecutionIdentifier."""

    project: str = ""
    domain: str = ""
    name: str = ""


class RawOutputData(msgspec.Struct, frozen=True):
    """flyteidl.admin.RawOutputDataConfig. FlyteAdmin writes messages that the resource embeds as Go structs with their
    proto names (Go's encoding/json); lowerCamelCase, proto's own JSON, is read too.
    """

    _proto_prefix: str = msgspec.field(default="", name="output_location_prefix")
    _camel_prefix: str = msgspec.field(default="", name="outputLocationPrefix")

    @property
    def output_location_prefix(self) -> str:
        return self._proto_prefix or self._camel_prefix


class RunAs(msgspec.Struct, frozen=True):
    """flyteidl.core.Identity, spelled like RawOutputData."""

    _proto_account: str = msgspec.field(default="", name="k8s_service_account")
    _camel_account: str = msgspec.field(default="", name="k8sServiceAccount")
    _proto_identity: str = msgspec.field(default="", name="execution_identity")
    _camel_identity: str = msgspec.field(default="", name="executionIdentity")
    _proto_role: str = msgspec.field(default="", name="iam_role")
    _camel_role: str = msgspec.field(default="", name="iamRole")
    _proto_client: dict[str, Any] | None = msgspec.field(default=None, name="oauth2_client")
    _camel_client: dict[str, Any] | None = msgspec.field(default=None, name="oauth2Client")

    @property
    def k8s_service_account(self) -> str:
        return self._proto_account or self._camel_account

    @property
    def execution_identity(self) -> str:
        return self._proto_identity or self._camel_identity

    @property
    def iam_role(self) -> str:
        return self._proto_role or self._camel_role

    @property
    def oauth2_client(self) -> dict[str, Any] | None:
        """A flyteidl.core.OAuth2Client as JSON: it names a secret, and has none."""
        return self._proto_client or self._camel_client


class SecurityContext(msgspec.Struct, frozen=True):
    """flyteidl.core.SecurityContext, spelled like RawOutputData."""

    _proto_run_as: RunAs | None = msgspec.field(default=None, name="run_as")
    _camel_run_as: RunAs | None = msgspec.field(default=None, name="runAs")

    @property
    def run_as(self) -> RunAs | None:
        return self._proto_run_as or self._camel_run_as


class Quantities(msgspec.Struct, frozen=True):
    cpu: str = msgspec.field(default="0", name="CPU")
    memory: str = msgspec.field(default="0", name="Memory")
    ephemeral_storage: str = msgspec.field(default="0", name="EphemeralStorage")
    gpu: str = msgspec.field(default="0", name="GPU")


class TaskResources(msgspec.Struct, frozen=True, rename="pascal"):
    requests: Quantities = Quantities()
    limits: Quantities = Quantities()


class PluginOverride(msgspec.Struct, frozen=True, rename="pascal"):
    """The plugins that a task type is to be run by; `missing_plugin_behavior` is admin.PluginOverride's, FAIL is 0."""

    plugin_ids: tuple[str, ...] | None = msgspec.field(default=None, name="PluginIDs")
    missing_plugin_behavior: int | str = 0


class ExecutionConfig(msgspec.Struct, frozen=True, rename="pascal"):
    max_parallelism: int = 0
    interruptible: bool | None = None
    environment_variables: dict[str, str] | None = None
    task_resources: TaskResources = TaskResources()
    recovery_execution: ExecutionIdentity | None = None
    task_plugin_impls: dict[str, PluginOverride] | None = None
    overwrite_cache: bool | None = None


class NodeDefaults(msgspec.Struct, frozen=True):
    interruptible: bool = False


class ExecutionSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The part of the resource that belongs to one execution."""

    inputs: msgspec.Raw = NOTHING
    execution_id: ExecutionIdentity = ExecutionIdentity()
    offloaded_inputs: str = ""
    workflow_closure_reference: str = ""
    service_account_name: str = ""
    security_context: SecurityContext = SecurityContext()
    raw_output_data_config: RawOutputData = RawOutputData()
    execution_config: ExecutionConfig = ExecutionConfig()
    node_defaults: NodeDefaults = msgspec.field(default=NodeDefaults(), name="node-defaults")
    active_deadline_seconds: int | None = None
    console_url: str = ""
