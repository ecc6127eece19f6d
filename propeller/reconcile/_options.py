"""How keys are queued and reconciled, leases held, and the loop watched. Units are in the docstrings."""

from __future__ import annotations

import msgspec

from propeller.bounds import NonNegativeFloat, PositiveFloat, PositiveInt


class QueueOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How keys are queued and reconciled."""

    workers: PositiveInt = 64
    """Reconciles at once. Those of `propeller controller` do not await the network, so this only bounds how many keys a
    burst takes off the queue.
    """

    backoff: PositiveFloat = 0.2
    """Seconds before a failed key is tried again; doubles up to `backoff_cap` and is reset by a success."""

    backoff_cap: PositiveFloat = 60.0
    """Seconds. A key that keeps failing still costs at most one attempt a minute."""

    sync_deadline: PositiveFloat = 120.0
    """Seconds that a controller waits for its caches before it reconciles, and then gives up. controller-runtime's
    CacheSyncTimeout: the longest lists take a minute, and a longer wait means a missing kind or permission.
    """

    round_deadline: PositiveFloat = 60.0
    """Seconds for one reconcile. It takes milliseconds: one that takes a minute hangs, and holds up its key."""

    grace: NonNegativeFloat = 5.0
    """Seconds that running reconciles get to end in when the controller stops. Kubernetes kills a pod 30 after asking
    it to end; the lease and connections need some of them too."""


class ElectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How several processes elect the one that acts. client-go's times: 15, 10, 2."""

    duration: PositiveInt = 15
    """Whole seconds (the Lease has no finer unit) for which other candidates leave a silent holder alone: the gap in
    service after a crash."""

    renew_deadline: PositiveFloat = 10.0
    """Seconds after the last renewal at which the holder stops acting. The rest up to `duration` is for requests under
    way and for clocks that run at unlike speeds."""

    retry: PositiveFloat = 2.0
    """Seconds between two attempts to acquire or renew, plus up to a fifth: five attempts fit before the deadline."""


class WatchdogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How code that blocks the event loop is found."""

    threshold: PositiveFloat = 0.1
    """Seconds without a tick after which the loop counts as blocked. Parsing over 5 ms belongs in a thread; collecting
    garbage or a busy machine may well take tens of milliseconds."""
