"""Find the execution and the node that a command names, load it to be shown, and read what they were given."""

from __future__ import annotations

from typing import TypeVar

from flyteidl.core import literals_pb2

from propeller.config import Settings
from propeller.controller import Loader
from propeller.errors import Invalid, NotFound, PropellerError
from propeller.handlers import Inputs, LaunchPlans
from propeller.kube import Client, Resource
from propeller.registry import registry_of
from propeller.storage import Storage, in_thread_if_large
from propeller.wire import parse
from propeller.workflow import Execution, NodeView

T = TypeVar("T")


def loader_of(client: Client, storage: Storage, settings: Settings) -> Loader:
    """Return what shows executions, wherever their statuses say that their data is: the prefix of the settings counts
    only for those that have not begun, the registry only if the settings name one.
    """
    launch_plans = LaunchPlans(registry_of(storage, settings.registry)) if settings.registry.prefix else None
    return Loader(client, storage, settings.storage.metadata_prefix, launch_plans=launch_plans, anywhere=True)


async def get_execution(client: Client, resource: Resource[T], name: str, namespace: str) -> T:
    """Get the FlyteWorkflow of an execution in one of its forms. Raises PropellerError if there is none."""
    try:
        return await client.get(resource, name, namespace)
    except NotFound as error:
        raise no_execution(name, namespace) from error


def no_execution(name: str, namespace: str) -> PropellerError:
    """The error for a name that no execution has."""
    return PropellerError(f"there is no execution {name} in namespace {namespace}; name another with -n")


def node_of(execution: Execution, wanted: str) -> NodeView:
    """The node with this unique id. Raises Invalid."""
    for number in execution.user_nodes():
        if execution.unique_id(number) == wanted:
            return execution.view(number)
    shown = f"propeller status {execution.info.name} -n {execution.info.namespace} --output json"
    raise Invalid(f"{execution.key} has no node {wanted!r} yet: see its nodes with {shown}")


async def inputs_of(execution: Execution, view: NodeView | None, storage: Storage) -> literals_pb2.LiteralMap:
    """The inputs of a node, or of the execution. Raises as `Inputs.peek`, and CorruptBlob."""
    inputs = Inputs(storage)
    raw = await (inputs.of_frame(execution, -1) if view is None else inputs.peek(view))
    data, most = raw.encode().tobytes(), storage.settings.max_messages
    return await in_thread_if_large(
        len(data), parse, literals_pb2.LiteralMap, data, most, "the inputs", "storage.max_messages"
    )
