"""The protocol of plugins whose attempts are jobs of a remote service, and no resources of a cluster.

Guarantees
    A job is looked at and deleted only once a status has its id. A job whose id was recorded is never created again:
    after a crash it is found by that id.
    propeller does the rest: attempts, retries, timeouts, limits, looks in turn, and reading outputs.
Assumptions
    Methods run on the controller's event loop and may await the service; each ends within a deadline of its own.
    `create` is given the same output directory and the same annotation `propeller/job` whenever it is called for an
    attempt: a crash, or an answer that is lost, between the service's start of the job and the status write leads to a
    second call. A service that knows it again by these starts nothing twice.
Errors
    Unavailable and Throttled: tried again later. Any other error of `get` counts as a failed look, after
    `connectors.max_failures` of which in a row the attempt fails by the system's fault; one of `create` fails the
    attempt, by the user's fault if it is Invalid or Malformed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from propeller.handlers.plugins._settings import PodSettings
from propeller.wire import Literals
from propeller.workflow import AttemptPhase, Failure, Job, Link, NodeView

JOB_ANNOTATION = "propeller/job"
"""Annotation in the metadata of a request: the same for an attempt however often it is asked for, and for no other."""


class RemoteTask(NamedTuple):
    """An attempt to be started."""

    node: NodeView
    attempt: int
    inputs: Literals
    settings: PodSettings

    @property
    def output_prefix(self) -> str:
        """URI of the directory in which the job may write `outputs.pb` itself."""
        return self.node.execution.output_directory(self.node.number, self.attempt)

    @property
    def uid(self) -> str:
        """That of the execution."""
        return self.node.execution.info.uid

    @property
    def name(self) -> str:
        """That of the attempt, which is unique in its execution."""
        return self.node.execution.pod_name(self.node.number, self.attempt)

    @property
    def key(self) -> str:
        """What identifies the attempt to the service."""
        return f"{self.uid}/{self.name}"


class JobState(msgspec.Struct, frozen=True):
    """What a service says of a job. `failure` is set if its phase is FAILED."""

    phase: AttemptPhase
    word: str
    """The service's word for the phase."""
    message: str = ""
    links: tuple[Link, ...] = ()
    info: str = ""
    """What else it says, as JSON."""
    outputs: bytes | None = None
    """A flyteidl.core.LiteralMap if it has succeeded; None if its outputs are at the output prefix."""
    failure: Failure | None = None


@runtime_checkable
class RemotePlugin(Protocol):
    """Runs tasks of some types elsewhere. One object serves all executions and keeps no state of them."""

    task_types: Collection[str]

    @abstractmethod
    async def create(self, task: RemoteTask) -> bytes | JobState:
        """Start an attempt, and return the job's id; or run it, and return how it has ended."""
        ...

    @abstractmethod
    async def get(self, job: Job, output_prefix: str) -> JobState:
        """Look at a job."""
        ...

    @abstractmethod
    async def delete(self, job: Job) -> None:
        """Stop a job and remove it. One that has ended or is gone is no error."""
        ...
