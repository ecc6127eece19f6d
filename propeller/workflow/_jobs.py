"""A job of a remote service: an attempt that is no resource of a cluster. Texts of the service are shortened here."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from propeller.text import bounded, one_line

MAX_ID_BYTES = 16 * 1024
"""Of a job's id. flytekit's sensors put their inputs into it; the status holds those of all jobs that run."""

MAX_MESSAGE_CHARACTERS = 1024
MAX_INFO_CHARACTERS = 4096
MAX_LINKS = 10
MAX_LINK_CHARACTERS = 2048

LINK_SCHEMES = frozenset({"http", "https", "s3", "gs", "abfs", "abfss"})
"""Of the links that are kept: consoles make them links to click on, and those of another scheme may run a script."""


class Link(NamedTuple):
    """A page about the job, such as its logs."""

    name: str
    uri: str


class Look(msgspec.Struct, frozen=True):
    """What a look at a job has shown, its texts shortened."""

    phase: str
    message: str
    links: tuple[Link, ...]
    info: str

    @classmethod
    def of(cls, phase: str, message: str = "", links: Collection[Link] = (), info: str = "") -> Look:
        shown = tuple(
            Link(one_line(bounded(link.name, MAX_MESSAGE_CHARACTERS)), one_line(link.uri))
            for link in links
            if len(link.uri) <= MAX_LINK_CHARACTERS and link.uri.partition(":")[0].lower() in LINK_SCHEMES
        )
        shortened = bounded(message, MAX_MESSAGE_CHARACTERS)
        return cls(phase, shortened, shown[:MAX_LINKS], info if len(info) <= MAX_INFO_CHARACTERS else "")


class Job(msgspec.Struct, frozen=True, array_like=True):
    """One job. `id` is what the service calls it: its `resource_meta`."""

    node: int
    attempt: int
    task_type: str
    version: int
    id: bytes
    since: float
    """Epoch seconds of its creation."""
    phase: str = ""
    """The service's word, such as RUNNING; "" before the first look."""
    message: str = ""
    links: tuple[Link, ...] = ()
    info: str = ""
    """What the service adds, as JSON."""
    service: str = ""
    """The connector that began it, by its name in the settings; "" for other plugins."""

    def seen(self, look: Look) -> Job:
        """Return the job as a look has shown it."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(look))


JOB_FILE = "job.json"
"""Beside the outputs of an attempt: what is left of its job."""

MAX_JOB_FILE = 256 * 1024
"""Bytes: an id, a message, links and custom_info at their limits have less, escaped as JSON."""


class JobRecord(msgspec.Struct, frozen=True):
    """What is left of a job that has ended. Texts are those of the service, shortened."""

    phase: str
    message: str = ""
    links: tuple[Link, ...] = ()
    info: str = ""
    task_type: str = ""
    version: int = 0
    id: bytes = b""
    """Base64 in JSON; empty for a task that was run within one call."""
    since: float = 0.0
    service: str = ""

    @classmethod
    def of(cls, job: Job) -> JobRecord:
        """Return the record of a job as it was seen last."""
        return cls(**{name: getattr(job, name) for name in cls.__struct_fields__})
