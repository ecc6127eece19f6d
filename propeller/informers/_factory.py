"""Informers of one API server, each kind followed once however many ask for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from propeller.informers._informer import Informer
from propeller.informers._options import InformerOptions
from propeller.informers._uid_shard import UidShard
from propeller.kube import Client, Resource

T = TypeVar("T")


class InformerFactory:
    """Starts informers on first use and shares them; use as `async with`."""

    def __init__(self, client: Client, settings: InformerOptions | None = None) -> None:
        self._client = client
        self._settings = settings or InformerOptions()
        self._shared: dict[tuple[Any, ...], Informer[Any]] = {}
        self._stack = AsyncExitStack()

    async def informer(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        transform: Callable[[T], T] | None = None,
        shard: UidShard | None = None,
    ) -> Informer[T]:
        """The one informer of that kind, type, namespace, selectors, transform and shard."""
        key = (resource, namespace, label_selector, field_selector, transform, shard)
        if key not in self._shared:
            informer = Informer(
                self._client,
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                transform=transform,
                shard=shard,
                settings=self._settings,
            )
            self._shared[key] = informer
            await self._stack.enter_async_context(informer)
        return self._shared[key]

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)
