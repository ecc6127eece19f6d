"""Task plugins as others write them, good and bad; tests name them by entry points."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.handlers.plugins import PodSettings, TaskPlugin, pod_template
from propeller.kube import NODES, KubeObject, Raw, Resource
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, NodeView


class ThingStatus(msgspec.Struct, frozen=True):
    phase: str = ""


class Thing(KubeObject, frozen=True, rename="camel"):
    """What the plugins here make; its status names the phase of its attempt."""

    status: ThingStatus = ThingStatus()


THINGS: Resource[Thing] = Resource(group="example.org", version="v1", kind="Thing", plural="things", type=Thing)
RAW_THINGS: Resource[Raw] = THINGS.typed(dict[str, Any])


class Things(TaskPlugin):
    """Works."""

    task_types = frozenset({"thing"})
    resource: Resource[Any] = THINGS

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        own = {"labels": {"own": "label", "execution-id": "stolen"}, "annotations": {"propeller/attempt": "9"}}
        return {
            "metadata": {"name": "stolen", **own},
            "spec": {"template": pod_template(node, attempt, inputs, settings)},
        }

    def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:
        if not obj.status.phase:
            return None
        phase = AttemptPhase[obj.status.phase.upper()]
        return AttemptObserved(
            attempt,
            phase,
            failure=Failure("Bad", "as asked", recoverable=True) if phase is AttemptPhase.FAILED else None,
        )


class RaisesInBuild(Things):
    def build(self, *arguments: Any) -> dict[str, Any]:
        raise ZeroDivisionError("no build")


class RefusesInBuild(Things):
    def build(self, *arguments: Any) -> dict[str, Any]:
        raise Invalid("size must be over 0, and is 0")


class BuildsNothing(Things):
    def build(self, *arguments: Any) -> Any:
        return None


class BuildsLabelsOfNumbers(Things):
    def build(self, *arguments: Any) -> Any:
        return {"metadata": {"labels": {"a": 1}}}


class BuildsObjects(Things):
    def build(self, *arguments: Any) -> Any:
        return {"spec": {"size": object()}}


class ObservesSomethingElse(Things):
    """An AttemptObserved with fields of other types."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:
        return msgspec.structs.replace(AttemptObserved(attempt, AttemptPhase.RUNNING), **self._fields)


class WaitsInObserve(Things):
    async def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:  # type: ignore[override]
        return None


class RaisesInObserve(Things):
    def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:
        raise KeyError("no observe")


class ObservesText(Things):
    def observe(self, obj: Thing, attempt: int) -> Any:
        return "running"


class FailsWithoutAReason(Things):
    def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:
        return AttemptObserved(attempt, AttemptPhase.FAILED)


class SaysGone(Things):
    def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:
        return AttemptObserved(attempt, AttemptPhase.GONE)


class OfAnotherAttempt(Things):
    def observe(self, obj: Thing, attempt: int) -> AttemptObserved | None:
        return AttemptObserved(attempt + 1, AttemptPhase.RUNNING)


class RaisesInTheRest(Things):
    def missing(self, name: str, attempt: int) -> AttemptObserved:
        raise KeyError("no missing")

    def is_alive(self, obj: Any) -> bool:
        raise KeyError("no is_alive")

    def has_ended(self, obj: Any) -> bool:
        raise KeyError("no has_ended")

    def grace_of(self, obj: Any) -> float:
        raise KeyError("no grace_of")


class OtherThings(Things):
    task_types = frozenset({"thing", "other"})


class OnlyOtherThings(Things):
    task_types = frozenset({"other"})


class TakesPythonTasks(Things):
    task_types = frozenset({"python-task", "thing"})


class TypesAreText(Things):
    task_types = "thing"  # type: ignore[assignment]


class TypesAreNumbers(Things):
    task_types = (1,)  # type: ignore[assignment]


class OfAService(Things):
    resource = None  # type: ignore[assignment]


class OfJson(Things):
    resource = RAW_THINGS


class ClusterWide(Things):
    resource = NODES


class Undecodable(KubeObject, frozen=True):
    status: NoSuchType = None  # type: ignore[name-defined]  # noqa: F821


class OfUndecodable(Things):
    resource = THINGS.typed(Undecodable)


class OfText(Things):
    resource = "things"  # type: ignore[assignment]


class WithoutObserve:
    task_types = frozenset({"thing"})
    resource = THINGS


GOOD = Things()
OTHER = OtherThings()
ONLY_OTHER = OnlyOtherThings()
PYTHON = TakesPythonTasks()
TEXT_TYPES = TypesAreText()
NUMBER_TYPES = TypesAreNumbers()
ASYNC = WaitsInObserve()
SERVICE = OfAService()
JSON = OfJson()
CLUSTER_WIDE = ClusterWide()
UNDECODABLE = OfUndecodable()
TEXT_RESOURCE = OfText()
INCOMPLETE = WithoutObserve()
NOTHING = None
