"""What launches take of the quotas of a namespace, worked out once for each kind of launch.

Guarantees
    Pure, as the whole room, and bounded in memory: kinds come from strangers.
    What a refusal has taught of a kind counts from then on: an admission webhook may make pods larger.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from propeller.errors import Invalid
from propeller.resourcemgr.quotas._count import Count
from propeller.resourcemgr.quotas._launch import Launch
from propeller.resourcemgr.quotas._limit_ranges import apply_limit_ranges, bounds, out_of_range
from propeller.resourcemgr.quotas._line import Needs
from propeller.resourcemgr.quotas._quota import Refusal, whole
from propeller.resourcemgr.quotas._usage import is_best_effort, pod_usage, with_defaults

_MAX_KINDS = 1024
"""Of launch, whose needs are kept."""


class LaunchNeeds:
    """`counts` are those of the namespace's quotas, by name; whoever changes what they limit says so (`forget_all`)."""

    def __init__(self, counts: Mapping[str, Count]) -> None:
        self._counts = counts
        self._limit_ranges: dict[str, Mapping[str, Any]] = {}
        self._of: dict[Hashable, Needs] = {}
        self._out_of_range: dict[Hashable, str] = {}
        """By kind of launch that no limit range will ever allow: why."""
        self._taught: dict[Hashable, dict[tuple[str, str], int]] = {}

    @property
    def has_limit_ranges(self) -> bool:
        return bool(self._limit_ranges)

    @property
    def has_bounds(self) -> bool:
        """Whether a limit range may forbid a launch."""
        return any(map(bounds, self._limit_ranges.values()))

    def limit_range(self, name: str, spec: Mapping[str, Any] | None) -> None:
        """Take the spec of a limit range; None if it is gone."""
        if spec is None:
            self._limit_ranges.pop(name, None)
        else:
            self._limit_ranges[name] = spec

    def of(self, launch: Launch) -> Needs:
        """Quotas, resources and amounts; nothing if no quota is about the launch."""
        found = self._of.get(launch.kind)
        if found is None:
            if len(self._of) >= _MAX_KINDS:
                self.forget_all()
            found = self._of[launch.kind] = tuple(self._computed(launch))
        return found

    def why_never(self, launch: Launch) -> str:
        """Why no limit range will ever allow a launch whose needs were asked for; "" if they do."""
        return self._out_of_range.get(launch.kind, "") if self._out_of_range else ""

    def learn(self, launch: Launch, refusal: Refusal) -> None:
        """Take what the API server says that a launch takes."""
        if len(self._taught) >= _MAX_KINDS:
            self._taught.clear()
        known = self._taught.setdefault(launch.kind, {})
        known |= {(refusal.quota, name): amount for name, amount in refusal.requested.items()}
        self._of.pop(launch.kind, None)

    def forget_all(self) -> None:
        """Other quotas, or other resources, are limited: what launches need has to be known anew."""
        self._of.clear()
        self._out_of_range.clear()

    def _computed(self, launch: Launch) -> Iterable[tuple[str, str, int]]:
        used = {launch.counted_as: 1}
        try:
            pod = None if launch.spec is None else self._admitted(launch.spec())
            if pod is not None:
                if why := out_of_range(pod["spec"], self._limit_ranges):
                    self._out_of_range[launch.kind] = why
                used |= {name: whole(name, amount) for name, amount in pod_usage(pod).items()}
        except Invalid:
            return  # the API server says what is wrong with it
        taught = self._taught.get(launch.kind, {})
        for quota, count in sorted(self._counts.items()):
            if pod is None and count.quota.spec:
                continue  # a quota with scopes counts nothing but pods
            if pod is not None and not count.quota.is_about(pod):
                continue
            for resource in count.quota.hard:
                amount = max(used.get(resource, 0), taught.get((quota, resource), 0))
                if amount:
                    yield quota, resource, amount

    def _admitted(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The pod as quotas see it: after defaults of the API server and of limit ranges."""
        ranges = [self._limit_ranges[name] for name in sorted(self._limit_ranges)]
        filled = {
            field: [apply_limit_ranges(with_defaults(container), ranges) for container in spec.get(field) or ()]
            for field in ("containers", "initContainers")
        }
        whole_spec = {**spec, **filled}
        best_effort = is_best_effort(whole_spec)
        return {"spec": whole_spec, "status": {"qosClass": "BestEffort" if best_effort else "Burstable"}}
