"""Those who ask a process for tokens: what each is told, once, and tokens that nobody has used since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from propeller.errors import Invalid
from propeller.resourcemgr._backend import Granted, Refused, TakenBack


class Callers:
    """By claim. A claim that is granted and not used within `unused_after` seconds is given to `release`, then to
    `taken_back`.
    """

    def __init__(self, unused_after: float, release: Callable[[str], None], taken_back: TakenBack | None) -> None:
        self._unused_after = unused_after
        self._release = release
        self._taken_back = taken_back
        self._waiting: dict[str, tuple[Granted, Refused]] = {}
        self._asking: dict[str, asyncio.Future[bool]] = {}
        """Requests without an answer yet."""
        self._unused: dict[str, asyncio.TimerHandle] = {}
        """Of claims that were granted and are not used yet, what takes them back."""
        self.is_closed = False

    def __contains__(self, name: object) -> bool:
        """Whether the claim's caller hears of its grant."""
        return name in self._waiting

    def add(self, name: str, granted: Granted, refused: Refused) -> None:
        """Tell a caller what becomes of the claim; if it has one already, that one is told."""
        self._waiting.setdefault(name, (granted, refused))

    def ask(self, name: str) -> asyncio.Future[bool]:
        """What the claim's caller awaits."""
        self._asking[name] = asking = asyncio.get_running_loop().create_future()
        return asking

    @property
    def asked(self) -> list[str]:
        """Claims whose callers await an answer."""
        return list(self._asking)

    def settle(self, name: str, is_granted: bool) -> None:
        """Answer a request that awaits it."""
        asking = self._asking.pop(name, None)
        if asking is not None and not asking.done():
            asking.set_result(is_granted)

    def drop(self, name: str, is_granted: bool) -> None:
        """The claim no longer waits: its caller hears of nothing more than this."""
        self._waiting.pop(name, None)
        self.settle(name, is_granted)

    def granted(self, name: str) -> None:
        if self.is_closed:
            return
        granted, _ = self._waiting.pop(name, (None, None))
        self.take_back_later(name)
        asking = self._asking.get(name)
        if asking is not None and not asking.done():
            self.settle(name, True)
        elif granted is not None:
            asyncio.get_running_loop().call_soon(self._call, name, granted)

    def refused(self, name: str, error: Invalid) -> None:
        _, refused = self._waiting.pop(name, (None, None))
        self.settle(name, False)
        if refused is not None and not self.is_closed:
            asyncio.get_running_loop().call_soon(refused, error)

    def is_unused(self, name: str) -> bool:
        return name in self._unused

    def use(self, name: str) -> None:
        if (timer := self._unused.pop(name, None)) is not None:
            timer.cancel()

    def take_back_later(self, name: str) -> None:
        self._unused[name] = asyncio.get_running_loop().call_later(self._unused_after, self._take_back, name)

    def close(self) -> None:
        """Tell nobody anything any more."""
        self.is_closed = True
        for timer in self._unused.values():
            timer.cancel()
        self._unused.clear()
        self._waiting.clear()
        for name in self.asked:
            self.settle(name, False)

    def _call(self, name: str, granted: Granted) -> None:
        if name in self._unused:
            granted()

    def _take_back(self, name: str) -> None:
        if name in self._unused:
            self._release(name)
            if self._taken_back is not None:
                self._taken_back(name)
