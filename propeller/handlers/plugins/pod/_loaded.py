"""What a pod shows of the containers that load a raw container's files.

A program that has ended well is not the end of its attempt: its outputs are uploaded then. The uploader's exit code
says whether they are. It is a native sidecar, so the kubelet may have started it again after that. Of a program that
has failed, the uploader says what the program has written about it (`_ERROR`).
"""

from __future__ import annotations

from collections.abc import Iterator

from propeller.dataloader import PROGRAM_FAILED
from propeller.errors import ErrorKind
from propeller.handlers.plugins._metadata import PRIMARY_ENDED
from propeller.handlers.plugins.pod._dataloader import DOWNLOADER, UPLOADER
from propeller.handlers.plugins.pod._ends import end_of, finished_at, has_ended, is_being_deleted, primary_of
from propeller.kube import ContainerStatus, ContainerTerminated, Pod
from propeller.redaction import redact
from propeller.workflow import AttemptObserved, AttemptPhase, Failure

DOWNLOAD_FAILED, UPLOAD_FAILED = "InputDownloadFailed", "OutputUploadFailed"
"""FlyteCopilot's codes."""

_AUTHORS, _PLATFORMS = 2, 3
"""Exit codes of `propeller dataloader`: what the task's author has to mend, and the rest."""


def upload_of(pod: Pod, attempt: int, end: ContainerTerminated) -> AttemptObserved | None:
    """Return how the upload stands after the program has ended well; None if the pod uploads nothing."""
    uploader = _named(pod, UPLOADER)
    if uploader is None:
        return None
    ended = uploader.state.terminated or uploader.last_state.terminated
    if ended is None or finished_at(ended) < finished_at(end):
        if not has_ended(pod):
            return AttemptObserved(attempt, AttemptPhase.RUNNING)
        return AttemptObserved(attempt, AttemptPhase.SUCCEEDED)  # whether there are outputs is seen by reading them
    if ended.exit_code in {0, PROGRAM_FAILED}:  # what failed is in error.pb
        return AttemptObserved(attempt, AttemptPhase.SUCCEEDED)
    return _failed(attempt, UPLOAD_FAILED, UPLOADER, ended)


def told_why(pod: Pod, failed: AttemptObserved, end: ContainerTerminated) -> AttemptObserved:
    """Return the observation of a program that has failed: RUNNING, with the failure that this becomes, while its
    uploader may still say what the program has written about it.
    """
    uploader = _named(pod, UPLOADER)
    if uploader is None or has_ended(pod) or is_being_deleted(pod):
        return failed
    if any(finished_at(ended) >= finished_at(end) for ended in _ends(uploader)):
        return failed
    return AttemptObserved(failed.attempt, AttemptPhase.RUNNING, failure=failed.failure)


def says_why(name: str, terminated: ContainerTerminated) -> bool:
    """Whether a container's message is what the program has written about its failure."""
    return name == UPLOADER and terminated.exit_code == PROGRAM_FAILED


def _ends(container: ContainerStatus) -> Iterator[ContainerTerminated]:
    for state in (container.state, container.last_state):
        if state.terminated is not None:
            yield state.terminated


def download_failure(pod: Pod, attempt: int) -> AttemptObserved | None:
    """Return the failure of the download, if it says itself why it failed."""
    downloader = _named(pod, DOWNLOADER)
    ended = None if downloader is None else downloader.state.terminated
    if ended is None or ended.exit_code not in {_AUTHORS, _PLATFORMS}:
        return None
    return _failed(attempt, DOWNLOAD_FAILED, DOWNLOADER, ended)


def uploader_waits(pod: Pod) -> bool:
    """Whether the controller has to tell the uploader that the program has ended: another container still runs, so
    that the kubelet does not tell.
    """
    if (uploader := _named(pod, UPLOADER)) is None or uploader.state.running is None or has_ended(pod):
        return False
    if (pod.metadata.annotations or {}).get(PRIMARY_ENDED):
        return False
    primary = primary_of(pod)
    end = None if primary is None else end_of(pod, primary)
    if end is None:
        return False
    return any(one.state.terminated is None for one in pod.status.container_statuses)


def _named(pod: Pod, name: str) -> ContainerStatus | None:
    return next((one for one in pod.status.init_container_statuses if one.name == name), None)


def _failed(attempt: int, code: str, name: str, ended: ContainerTerminated) -> AttemptObserved:
    kind = ErrorKind.USER if ended.exit_code == _AUTHORS else ErrorKind.SYSTEM
    why = redact(ended.message.strip()) or f"terminated with exit code ({ended.exit_code}), reason {ended.reason}"
    failure = Failure(code, f"[{name}] {why}", kind, recoverable=True, attempt=attempt)
    return AttemptObserved(attempt, AttemptPhase.FAILED, failure=failure)
