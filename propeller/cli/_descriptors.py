"""File descriptors of the process: each connection, watch and open blob takes one."""

from __future__ import annotations

import logging
import resource

_log = logging.getLogger(__name__)

COMFORTABLE = 1024
"""File descriptors that a controller with default settings never exceeds: 60 connections to the API server, 64 to an
object store, those of /metrics, watches, files, and as many again.
"""


def raise_descriptors() -> int:
    """Raise the soft limit of open files to the hard one, as Go programs do; return it.

    Logs a warning if the limit is low or cannot be raised: requests would fail one by one without saying why.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # some systems report an unlimited hard limit and refuse it
            _log.warning("the limit of open files stays at %d: it cannot be raised to %d: %s", soft, hard, error)
        else:
            soft = hard
    if soft != resource.RLIM_INFINITY and soft < COMFORTABLE:
        _log.warning(
            "at most %d files can be open: raise the hard limit (ulimit -Hn) to %d or more, "
            "or requests fail when many are under way",
            soft,
            COMFORTABLE,
        )
    return soft
