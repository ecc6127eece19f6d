"""Metrics of executions, nodes and attempts, counted when they are decided.

Guarantees
    Label values are propeller's, or known ones of Flyte and Kubernetes: a code that a task made up is `Other`.
    A count takes well below a microsecond.
Caveats
    A decision that is repeated after a crash or an external write is counted again. Executions are counted as ended
    when their last status is written.
"""

from __future__ import annotations

from collections import Counter

from propeller import errors
from propeller.telemetry._families import Counters, Family, Gauges, Histograms, Reader

_DURATIONS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
"""Seconds, of executions and nodes: tasks take seconds to hours."""

_WRITE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_STATUS_BYTES = tuple(float(1 << power) for power in range(8, 21, 2))
"""Bytes: 256 to 1 Mi. etcd takes 1.5 MiB."""

OTHER = "Other"

REASONS = frozenset(
    {
        # of ours and FlytePropeller's
        *("Aborted", "BadTaskFormat", "BadWorkflow", "BindingResolutionFailure", "CorruptData", "DeadlineExceeded"),
        *("DynamicWorkflowBuildFailed", "EagerNeedsFlyteAdmin", "EntityTooLarge", "ErrorFileBadFormat"),
        "FailedToBuildResource",
        *(
            "InternalError",
            "Interrupted",
            "InvalidArrayLength",
            "NameTaken",
            "NotSupported",
            "OOMKilled",
            "OutputSizeExceeded",
            "OutputsNotFound",
        ),
        *("PodNameTaken", "ResourceDeletedExternally", "RuntimeFailure", "TimeoutExpired", "TooManyNodes"),
        *("UnexpectedObjectDeletion", "Unknown", "UnknownError"),
        # of a branch
        *("MalformedBranchUserError", "UserProvidedError"),
        # of our errors, if nothing better is known
        *(
            name
            for name, found in vars(errors).items()
            if isinstance(found, type) and issubclass(found, errors.PropellerError)
        ),
        # of containers, by the kubelet
        *("Completed", "ContainerCannotRun", "CrashLoopBackOff", "CreateContainerConfigError"),
        *("CreateContainerError", "ErrImageNeverPull", "ErrImagePull", "Error", "ImageInspectError"),
        *("ImagePullBackOff", "InvalidImageName", "RunContainerError", "StartError"),
    }
)
"""Codes of failures that may be a label. Others come from tasks and runtimes, and there is no end of them."""


def reason_of(code: str) -> str:
    """The label for a failure's code: `ContainersNotReady|ImagePullBackOff` counts as ImagePullBackOff."""
    last = code.rpartition("|")[2]
    return last if last in REASONS else OTHER


def _of_platform(counts: Counter[tuple[str, ...]], label: int) -> int:
    """The sum of counts whose label of that number says SYSTEM."""
    return sum(count for labels, count in counts.items() if labels[label] == "SYSTEM")


class ExecutionMetrics:
    """The metrics of one process. Values that are known anyway (`states`, `nodes_active`) are read when scraped."""

    def __init__(self) -> None:
        self._accepted = Counters("propeller_executions_accepted", "Executions that have begun.")
        self._ended = Counters(
            "propeller_executions_ended",
            "Executions that have ended, by phase, kind of error (USER or SYSTEM), and known error codes.",
            *("phase", "error_kind", "reason"),
        )
        self._seconds = Histograms(
            "propeller_execution_seconds", "Time from an execution's start to its end.", _DURATIONS, "phase"
        )
        self._states = Gauges(
            "propeller_executions",
            "Executions by state: loading, loaded (about to run), running, ended (not written), resting (evicted).",
            "state",
        )
        self._active = Gauges("propeller_nodes_active", "Nodes that have begun and not ended, of executions in memory.")
        self._nodes = Counters("propeller_nodes_ended", "Nodes that have ended.", "kind", "phase")
        self._node_seconds = Histograms(
            "propeller_node_seconds", "Time from a node's start to its end, including all attempts.", _DURATIONS, "kind"
        )
        self._launched = Counters("propeller_attempts_launched", "Attempts whose pod was created or found.")
        self._refused = Counters(
            "propeller_attempts_refused",
            "Launches that were refused, or held back because others of the same task were, counted each time.",
        )
        self._failed = Counters(
            "propeller_attempts_failed",
            "Attempts that failed, and whether they are retried.",
            *("error_kind", "reason", "retried"),
        )
        self._written = Counters("propeller_checkpoints", "Status writes by outcome.", "outcome")
        self._write_seconds = Histograms("propeller_checkpoint_seconds", "Time of a status write.", _WRITE_SECONDS)
        self._bytes = Histograms("propeller_checkpoint_bytes", "Bytes of a status's snapshot.", _STATUS_BYTES)
        self.families: tuple[Family, ...] = (
            *(self._accepted, self._ended, self._seconds, self._states, self._active, self._nodes, self._node_seconds),
            *(self._launched, self._refused, self._failed, self._written, self._write_seconds, self._bytes),
        )
        self._sizes, self._times = self._bytes.of(), self._write_seconds.of()

    def watch(self, states: Reader, nodes_active: Reader) -> None:
        """Report these when scraped: executions by state, and nodes."""
        self._states.read(states)
        self._active.read(nodes_active)

    def accepted(self) -> None:
        self._accepted.counts[()] += 1

    def ended(self, phase: str, error_kind: str, code: str, seconds: float) -> None:
        """Count an ended execution; `error_kind` and `code` are "" if it succeeded."""
        self._ended.counts[phase, error_kind, reason_of(code) if code else ""] += 1
        self._seconds.of(phase).observe(seconds)

    def failed_executions(self) -> tuple[int, int]:
        """How many executions have failed by the platform's fault, and how many have ended."""
        return _of_platform(self._ended.counts, 1), self._ended.counts.total()

    def failed_attempts(self) -> tuple[int, int]:
        """How many attempts have failed by the platform's fault, and how many were launched, or failed before."""
        failed = _of_platform(self._failed.counts, 0)
        return failed, max(failed, self._launched.counts.total())

    def failed_writes(self) -> tuple[int, int]:
        """How many status writes have failed, and how many there were."""
        return self._written.counts["error",], self._written.counts.total()

    def ended_nodes(self) -> int:
        return self._nodes.counts.total()

    def node_ended(self, kind: str, phase: str, seconds: float) -> None:
        self._nodes.counts[kind, phase] += 1
        self._node_seconds.of(kind).observe(seconds)

    def launched(self) -> None:
        self._launched.counts[()] += 1

    def refused(self) -> None:
        self._refused.counts[()] += 1

    def attempt_failed(self, error_kind: str, code: str, *, retried: bool) -> None:
        self._failed.counts[error_kind, reason_of(code), str(retried).lower()] += 1

    def written(self, seconds: float, size: int) -> None:
        """A status with a snapshot of `size` bytes."""
        self._written.counts[("ok",)] += 1
        self._times.observe(seconds)
        self._sizes.observe(size)

    def not_written(self) -> None:
        self._written.counts[("error",)] += 1
