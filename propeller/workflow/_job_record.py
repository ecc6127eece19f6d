"""The jobs of one execution: attempts that remote services run. The status is the record of their ids.

Guarantees
    Nothing is done with a job before a status has its id (`is_unwritten`): a process that takes over finds it there.
    A job is listed from its creation until it was seen to end, or was deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from propeller.workflow._events import AttemptObserved, AttemptPhase, JobSeen, NodeEvent, Remains, Stopped
from propeller.workflow._jobs import Job

Key = tuple[int, int]
"""A node and its attempt."""


class Jobs:
    """The jobs of one execution."""

    __slots__ = ("_jobs", "_unwritten")

    def __init__(self, jobs: Collection[Job] = ()) -> None:
        self._jobs: dict[Key, Job] = {(job.node, job.attempt): job for job in jobs}
        self._unwritten: set[Key] = set()

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs.values()))

    def of(self, node: int, attempt: int) -> Job | None:
        """Return the job of an attempt."""
        return self._jobs.get((node, attempt))

    def begin(self, job: Job) -> None:
        """A job was created."""
        self._jobs[job.node, job.attempt] = job
        self._unwritten.add((job.node, job.attempt))

    def update(self, job: Job) -> bool:
        """A look has shown more of a job. Returns whether people should hear of it: of its phase and its links."""
        before = self._jobs.get((job.node, job.attempt))
        if before is None:
            return False
        self._jobs[job.node, job.attempt] = job
        return (job.phase, job.links) != (before.phase, before.links)

    def over(self, node: int, attempt: int) -> bool:
        """A job has ended or is deleted. Returns whether there was one."""
        self._unwritten.discard((node, attempt))
        return self._jobs.pop((node, attempt), None) is not None

    def observe(self, node: int, event: NodeEvent) -> bool:
        """Take from an event what a look has shown of a job, or that it is over. Returns whether a status is due."""
        if type(event) is JobSeen:
            return self.update(event.job)
        if type(event) is AttemptObserved:
            has_ended = event.phase >= AttemptPhase.SUCCEEDED and event.remains is Remains.NOTHING
            return has_ended and self.over(node, event.attempt)
        return type(event) is Stopped and not event.grace and self.over(node, event.attempt)

    def is_unwritten(self, node: int, attempt: int) -> bool:
        """Whether no status has the id of an attempt's job."""
        return (node, attempt) in self._unwritten

    def unwritten(self) -> frozenset[Key]:
        """Return the jobs that a status that is taken now is the first to hold; for `written`."""
        return frozenset(self._unwritten)

    def written(self, held: frozenset[Key]) -> None:
        """A status that holds these jobs is written."""
        self._unwritten -= held
