"""Lists a kind, and hands over its pages as they come.

Guarantees
    A list that expires between its pages is requested once more in one piece, as client-go's pager does
    (FullListIfExpired); if pages never end, lists are requested in one piece from then on.
Errors
    ResourceExpired, EndlessList and the client's other errors: the list is incomplete then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from propeller.errors import EndlessList, ResourceExpired, Retryable
from propeller.informers._filter import Filter
from propeller.informers._selection import Selection
from propeller.informers._sink import Sink
from propeller.kube import Client, Page, Resource
from propeller.telemetry import Causes

T = TypeVar("T")


class Pager(Generic[T]):
    """Lists the selected objects of `resource` into `sink`; `begin` is called before each list, and before a repeated
    one.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        selection: Selection,
        sink: Sink[T],
        filter_: Filter[T],
        causes: Causes,
        begin: Callable[[], None],
    ) -> None:
        self._client = client
        self._resource = resource
        self._selection = selection
        self._sink = sink
        self._filter = filter_
        self._causes = causes
        self._begin = begin
        self._by_pages = True
        """Whether lists by pages end."""

    async def list(self) -> str:
        """List everything; returns the list's version."""
        if self._by_pages:
            try:
                return await self._pages()
            except (_ExpiredPages, EndlessList) as error:
                self._by_pages = not isinstance(error, EndlessList)
                self._causes.report(error, "%s: asking for the whole list at once", self._resource.plural)
        return await self._whole()

    async def _pages(self) -> str:
        self._begin()
        selection = self._selection
        page: Page[T] | None = None
        try:
            async for page in self._client.pages(
                self._resource,
                selection.namespace,
                label_selector=selection.label_selector,
                field_selector=selection.field_selector,
                shard_selector=selection.shard_selector,
            ):
                self._handle(page)
        except ResourceExpired as error:
            if page is None:
                raise
            raise _ExpiredPages(str(error)) from error
        return page.resource_version if page is not None else ""

    async def _whole(self) -> str:
        self._begin()
        selection = self._selection
        page = await self._client.list(
            self._resource,
            selection.namespace,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            shard_selector=selection.shard_selector,
            limit=0,
        )
        if page.continue_token:
            raise EndlessList(f"list {self._resource.plural}: it was asked for in one piece, and a part came")
        self._handle(page)
        return page.resource_version

    def _handle(self, page: Page[T]) -> None:
        self._filter.server_shards = page.shard_selector == self._selection.shard_selector
        for found in page.undecodable:
            if self._filter.is_wanted_uid(found.metadata.uid):
                self._sink.on_list_undecodable(found)
        self._sink.on_list_page(self._filter.objects(page.items, self._sink.on_list_undecodable))


class _ExpiredPages(Retryable):
    """The list expired between its pages."""
