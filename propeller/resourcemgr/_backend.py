"""What keeps the tokens: the one interface behind which they are, in this process' memory or in a store that processes
share.

Guarantees (of each backend; one contract suite for all)
    A claim takes tokens of all its pools, or none; no pool has more out than its limit, but for what was `restore`d.
    All methods but `running` return at once: what has to be asked elsewhere is asked beside them. Only `request` may
    return an answer that is still to come.
    `granted` and `refused` are called from the loop, never within `request`: at most one of them, once, and not for a
    claim that was released meanwhile.
    Whoever is granted tokens by a call, or is in `doubt` whether they are in use, has `unused_after` seconds to `use`
    them; then they come back, and `taken_back` is called. A `request` that returned True is to be `use`d at once.
Assumptions
    One event loop. Claims of one id come from one caller, which asks again only when it was answered.
Errors
    Invalid for a claim that makes no sense, or that the limits can never meet (with both numbers); and for limits that
    contradict themselves. A backend that is not reached raises nothing: claims wait, or are granted, by its policy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from propeller.clock import Clock
from propeller.errors import Invalid
from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._limits import Limits
from propeller.resourcemgr._options import ResourceOptions
from propeller.resourcemgr._rules import Needs
from propeller.resourcemgr._usage import Usage

Granted = Callable[[], None]
Refused = Callable[[Invalid], None]
TakenBack = Callable[[str], None]


class Tokens(Protocol):
    """See the module's text. Claims are named by their ids."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Be connected, and renew what is held, until the block is left. Calls of other methods before it wait for it;
        nothing is called back after it.
        """

    def close(self) -> None:
        """Grant nothing any more, and call nothing back."""

    # a claim's life

    def request(self, claim: Claim, granted: Granted, refused: Refused) -> bool | Awaitable[bool]:
        """Whether the claim has its tokens. If not it waits, and one of the two is called later: `refused` when other
        limits can never meet it.

        Asking again changes nothing for a claim that is held. One that waits keeps its place and its `since`, and needs
        from now on what it asks for now; the functions of its first request are called.
        """

    def amend(self, claim: Claim) -> None:
        """Have a claim that waits need something else, at its place. One that is held, or unknown, is not changed."""

    def use(self, name: str) -> None:
        """The claim's tokens are in use from now on, until they are released."""

    def doubt(self, name: str) -> None:
        """It is not known whether the claim's tokens are in use. That it is said again gives no more time."""

    def release(self, name: str) -> None:
        """Give a claim's tokens back, or let it wait no more. One that is unknown was given back before."""

    def restore(self, claim: Claim) -> None:
        """Count the tokens of what runs, whether they are free or not. Nothing is called back for it."""

    # limits

    def configure(self, limits: Limits) -> None:
        """Have other limits from now on: leases are kept, claims that can never be met are refused. Of two versions the
        one with the higher `generation` wins everywhere.
        """

    # what it knows

    def is_held(self, name: str) -> bool:
        """Whether the claim has its tokens, as far as this process knows."""

    def held(self, name: str) -> Needs:
        """Pools and tokens of each that the claim has, as far as this process knows; none if it waits or is unknown."""

    @property
    def waiting(self) -> int:
        """Claims of this process that wait."""

    def report(self, *, own: bool = False) -> Usage:
        """What each pool and tenant holds and waits for: of all processes as this one has heard last, seconds ago; or
        what is this process's `own`.
        """

    def speaks(self) -> bool:
        """Whether this process is to write what `report` says where one has to: of the processes that ask, one at a
        time is. False until that is known.
        """

    def explain(self, name: str) -> Wait | None:
        """Why a claim waits, as of its last answer; None if it does not, or there was none yet."""


class Backend(Protocol):
    """Makes the tokens of a controller."""

    def __call__(self, options: ResourceOptions, *, clock: Clock, taken_back: TakenBack) -> Tokens:
        """Raises Invalid for limits that contradict themselves."""
