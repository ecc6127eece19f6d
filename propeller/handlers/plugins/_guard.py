"""Guard the controller against faults of a plugin of another package: each concerns one attempt alone.

Guarantees
    `build` returns a resource with the attempt's name, owner, label and annotations, or raises Invalid (USER) or
    PluginFailed (SYSTEM). No other method raises: if the plugin's `observe` does, its attempt fails and its resource is
    deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import orjson

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins._api import DEFAULT_GRACE, PluginFailed, TaskPlugin
from propeller.handlers.plugins._metadata import attempt_metadata, others_annotations, others_labels
from propeller.handlers.plugins._overrides import check_override
from propeller.handlers.plugins._settings import PodSettings
from propeller.kube import KubeObject, Resource, is_label
from propeller.telemetry import Causes
from propeller.text import headline
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, NodeView, Remains

T = TypeVar("T")

_log = logging.getLogger(__name__)

REASON_CHARACTERS = 1000
"""Characters of a plugin's exception that are kept."""

MAX_SELECTORS = 4
"""Of one resource's pods: each is a LIST."""

FAILED = "PluginFailed"
"""Error code of an attempt whose plugin is at fault."""


class GuardedPlugin(TaskPlugin):
    """See the module's text. `name` identifies the plugin in messages."""

    def __init__(
        self,
        plugin: TaskPlugin,
        name: str,
        task_types: frozenset[str],
        resource: Resource[Any],
        pod_owners: tuple[Resource[Any], ...] = (),
    ) -> None:
        self.name = name
        self.pod_owners = pod_owners
        self.task_types = task_types
        self.resource: Resource[Any] = resource
        self._plugin = plugin
        self._ids = task_types
        self._causes = Causes(_log)

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        check_override(node, self._ids)
        task = node.graph.plan.task(node.spec.task).id.name
        where = f"task {task}: plugin {self.name}: build"
        try:
            built = self._plugin.build(node, attempt, inputs, settings)
        except Invalid:
            raise
        except Exception as error:
            _log.exception("%s of %s raised", where, node.log_name)
            raise PluginFailed(f"{where} raised {_said(error)}") from error
        return self._described(node, attempt, task, built, where, settings)

    def _described(
        self, node: NodeView, attempt: int, task: str, built: Any, where: str, settings: PodSettings
    ) -> dict[str, Any]:
        """Return the resource with the metadata that propeller sets."""
        if not isinstance(built, dict):
            raise PluginFailed(f"{where} returned {_shown(built)}, and not a resource as a dict")
        own = built.get("metadata") or {}
        given = {part: own.get(part) or {} for part in ("labels", "annotations")} if isinstance(own, dict) else {}
        for part in ("labels", "annotations"):
            texts = given.get(part)
            if not isinstance(texts, dict) or not all(isinstance(one, str) for pair in texts.items() for one in pair):
                raise PluginFailed(f"{where} returned metadata.{part} that are no dict of texts: {_shown(own)}")
        labels, annotations = others_labels(given["labels"]), others_annotations(given["annotations"])
        metadata = attempt_metadata(node, attempt, task, labels, annotations, settings.kueue)
        kind = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        described = {**built, **kind, "metadata": metadata}
        try:
            orjson.dumps(described)
        except TypeError as error:
            raise PluginFailed(f"{where} returned what cannot be written as JSON: {error}") from error
        return described

    def observe(self, obj: Any, attempt: int) -> AttemptObserved:
        """Return what the plugin observes; PENDING if it knows nothing yet."""
        found = self._ask(obj, "observe", self._plugin.observe, obj, attempt)
        if isinstance(found, _Raised):
            return _failed(attempt, found.why)
        if found is None:
            found = AttemptObserved(attempt, AttemptPhase.PENDING)
        if isinstance(seen := _checked(found), str):
            return _failed(attempt, self._blame(obj, f"observe returned {seen}"))
        return self._completed(obj, attempt, seen)

    def _completed(self, obj: KubeObject, attempt: int, seen: AttemptObserved) -> AttemptObserved:
        """Complete the fields that the controller relies on: attempt, cause of a failure, being deleted."""
        if seen.phase is AttemptPhase.GONE:
            return _failed(attempt, self._blame(obj, "observe says GONE of a resource that is there"))
        if seen.phase is AttemptPhase.FAILED and seen.failure is None:
            return _failed(attempt, self._blame(obj, "observe says FAILED, and not why"), seen.remains)
        if seen.attempt != attempt:
            seen = msgspec.structs.replace(seen, attempt=attempt)
        if seen.phase < AttemptPhase.SUCCEEDED and obj.metadata.deletion_timestamp is not None:
            seen = msgspec.structs.replace(seen, remains=Remains.ENDING, grace=self.grace_of(obj))
        return seen

    def missing(self, name: str, attempt: int) -> AttemptObserved:
        found = _checked(self._ask(name, "missing", self._plugin.missing, name, attempt))
        if isinstance(found, AttemptObserved) and (
            found.phase is AttemptPhase.SUCCEEDED or (found.phase >= AttemptPhase.FAILED and found.failure is not None)
        ):
            return msgspec.structs.replace(found, attempt=attempt, remains=Remains.NOTHING)
        return super().missing(name, attempt)

    def is_alive(self, obj: Any) -> bool:
        found = self._ask(obj, "is_alive", self._plugin.is_alive, obj)
        return found if isinstance(found, bool) else obj.metadata.deletion_timestamp is None

    def has_ended(self, obj: Any) -> bool:
        return self._ask(obj, "has_ended", self._plugin.has_ended, obj) is True

    def grace_of(self, obj: Any) -> float:
        if self.has_ended(obj):
            return 0.0
        found = self._ask(obj, "grace_of", self._plugin.grace_of, obj)
        return float(found) if isinstance(found, int | float) and 0 <= found < float("inf") else DEFAULT_GRACE

    def pods_of(self, obj: Any) -> Sequence[Mapping[str, str]]:
        """Return what the plugin returns if it selects pods by labels, nothing otherwise."""
        if (ask := getattr(self._plugin, "pods_of", None)) is None:
            return ()  # it does not derive from TaskPlugin
        found = self._ask(obj, "pods_of", ask, obj)
        if isinstance(found, _Raised):
            return ()
        if (why := _unfit(found)) is not None:
            self._blame(obj, f"pods_of returned {why}")
            return ()
        fit: Sequence[Mapping[str, str]] = found
        return fit

    def _ask(self, obj: Any, method: str, call: Callable[..., T], *arguments: Any) -> T | _Raised:
        try:
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises: its attempt alone fails by it
            return _Raised(self._blame(obj, f"{method} raised {_said(error)}", error))

    def _blame(self, obj: Any, what: str, error: Exception | None = None) -> str:
        """Log the plugin's fault, ever more rarely if it repeats, and return the message."""
        name = obj if isinstance(obj, str) else f"{obj.metadata.namespace}/{obj.metadata.name}"
        why = f"plugin {self.name}: {what}"
        self._causes.report(error or PluginFailed(what), "plugin %s, of %s %s", self.name, self.resource.kind, name)
        return f"{why}, of {self.resource.kind} {name}"


_OBSERVED = msgspec.json.Decoder(AttemptObserved)


def _checked(found: object) -> AttemptObserved | str:
    """Validate the field types of a plugin's observation; return what is wrong as text. Structs are not validated when
    they are made, and a wrong type would raise later, elsewhere.
    """
    if not isinstance(found, AttemptObserved):
        return f"{_shown(found)}, and not an AttemptObserved"
    try:
        return _OBSERVED.decode(msgspec.json.encode(found))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        return f"an AttemptObserved that is none: {error}"


def _unfit(found: object) -> str | None:
    """Return what is wrong with labels of pods, None if nothing is. A selector without a label would select all."""
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) > MAX_SELECTORS:
        return f"{_shown(found)}, and not up to {MAX_SELECTORS} mappings of labels"
    for labels in found:
        if not isinstance(labels, Mapping) or not labels:
            return f"{_shown(labels)} without a label"
        for name, value in labels.items():
            if not isinstance(name, str) or not isinstance(value, str) or not is_label(name, value):
                return f"what is no label of a pod: {name!r:.100} = {value!r:.100}"
    return None


class _Raised(msgspec.Struct, frozen=True):
    """A method of the plugin raised."""

    why: str


def _failed(attempt: int, why: str, remains: Remains = Remains.RUNNING) -> AttemptObserved:
    """Fail the attempt for good: the plugin would fail the next one as well. Its resource is deleted."""
    failure = Failure(FAILED, why, ErrorKind.SYSTEM, attempt=attempt)
    return AttemptObserved(attempt, AttemptPhase.FAILED, failure=failure, remains=remains)


def _said(error: Exception) -> str:
    return headline(f"{type(error).__name__}: {error}", REASON_CHARACTERS)


def _shown(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
