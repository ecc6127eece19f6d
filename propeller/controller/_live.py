"""What the controller holds of one execution between rounds."""

from __future__ import annotations

import enum

from propeller.workflow import Execution, Fact


class Stage(enum.Enum):
    """Where the execution is between being noticed and being forgotten."""

    LOADING = "loading"
    """Its plan and status are being read. Next: LOADED, or gone where it cannot be run."""

    LOADED = "loaded"
    """It is in memory, and its first round is due. Next: RUNNING."""

    RUNNING = "running"
    """Rounds are held. Next: ENDED."""

    ENDED = "ended"
    """Nothing is left to decide. Next: forgotten, once its last status is written."""


class Live:
    """One execution: its state, the facts that wait for its next round, and what we know of its object."""

    __slots__ = (
        "dirty_since",
        "execution",
        "inbox",
        "key",
        "new",
        "nodes_of_pods",
        "nodes_text",
        "stage",
        "uid",
        "version",
        "write_failures",
        "write_not_before",
        "writing",
    )

    def __init__(self, key: str, uid: str, version: str, nodes_text: str | None) -> None:
        self.key = key
        self.uid = uid
        self.version = version
        self.nodes_text = nodes_text
        self.stage = Stage.LOADING
        self.execution: Execution | None = None
        self.new = True
        """Whether no status held it when it was loaded."""
        self.inbox: list[tuple[int, Fact]] = []
        self.nodes_of_pods: dict[str, int] = {}
        self.dirty_since: float | None = None
        """Epoch seconds of the first change that no status holds yet."""
        self.writing = False
        self.write_failures = 0
        """Since the last status that was written."""
        self.write_not_before = 0.0
        """Epoch seconds: when a write that failed may be tried again."""

    def take_facts(self) -> list[tuple[int, Fact]]:
        facts, self.inbox = self.inbox, []
        return facts
