"""Follow the PodTemplates of a cluster, which are the base of tasks' pods.

Guarantees
    Nothing is requested before the first task that has a PodTemplate, by its own choice or by the setting
    `pod_defaults.template`. Then all that there are have been read before its pod is built.
    If PodTemplates may not be read, such tasks wait, and their status says what to grant.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from propeller.beside import beside
from propeller.config import InformerOptions
from propeller.errors import Denied, PropellerError, Unavailable
from propeller.handlers.plugins import PodTemplate
from propeller.informers import Change, Informer
from propeller.kube import POD_TEMPLATES, Client, Raw

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
"""Between two looks whether PodTemplates may be read by now."""


class ClusterPodTemplates:
    """Those of one cluster; see the module's text. With a `namespace`: of that one, and of the `shared` one if they may
    be read there.
    """

    def __init__(
        self, client: Client, settings: InformerOptions, *, namespace: str | None, shared: str, deadline: float
    ) -> None:
        self._client = client
        self._settings = settings
        self._namespaces = (None,) if namespace is None else tuple(dict.fromkeys((namespace, shared)))
        self._deadline = deadline
        self._found: dict[tuple[str, str], PodTemplate] = {}
        self._wanted = asyncio.Event()
        self._synced = False
        self._trouble: PropellerError | None = None
        self._looked = asyncio.Event()
        """Set once it is known what there is, or that this cannot be known now."""

    def find(self, namespace: str, name: str, /) -> PodTemplate | None:
        """Return the PodTemplate of that namespace and name."""
        return self._found.get((namespace, name))

    async def ready(self) -> None:
        """Wait until all that there are have been read. Raises Unavailable if that takes too long or is not allowed."""
        if self._synced:
            return
        self._wanted.set()
        try:
            await asyncio.wait_for(self._looked.wait(), self._deadline)
        except TimeoutError:
            raise Unavailable(f"PodTemplates could not be read within {self._deadline:g} s") from None
        if self._trouble is not None:
            raise Unavailable(str(self._trouble)) from self._trouble

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow them, once they are wanted, until the block is left."""
        async with beside(self._follow(), "follow podtemplates"):
            yield

    async def _follow(self) -> None:
        await self._wanted.wait()
        while True:
            try:
                await self._follow_once()
            except PropellerError as error:
                self._trouble = _explained(error)
                self._looked.set()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow_once(self) -> None:
        """Follow until cancelled. Raises if they may not be read, or cannot be now."""
        async with AsyncExitStack() as stack:
            for number, namespace in enumerate(self._namespaces):
                try:
                    await self._client.list(POD_TEMPLATES.metadata_only(), namespace, limit=1)
                except Denied as error:
                    if number == 0:
                        raise
                    _log.warning(
                        "PodTemplates of namespace %s are not used: they may not be read: %s", namespace, error
                    )
                    continue
                informer = Informer(self._client, POD_TEMPLATES, namespace=namespace, settings=self._settings)
                await stack.enter_async_context(informer)
                await informer.wait_for_sync(self._deadline)
                informer.subscribe(self._changed)
            self._trouble = None
            self._synced = True
            self._looked.set()
            await asyncio.Event().wait()

    def _changed(self, change: Change[Raw]) -> None:
        obj = change.new or change.old or {}
        metadata = obj.get("metadata") or {}
        key = metadata.get("namespace", ""), metadata.get("name", "")
        if change.new is None:
            self._found.pop(key, None)
        else:
            self._found[key] = _template_of(change.new)


def _template_of(obj: Raw) -> PodTemplate:
    metadata: dict[str, Any] = obj["metadata"]
    template = obj.get("template") or {}
    own = template.get("metadata") or {}
    return PodTemplate(
        namespace=metadata.get("namespace", ""),
        version=(metadata.get("uid", ""), metadata.get("resourceVersion", "")),
        labels=own.get("labels") or {},
        annotations=own.get("annotations") or {},
        spec=template.get("spec") or {},
    )


def _explained(error: PropellerError) -> PropellerError:
    if isinstance(error, Denied):
        return Unavailable(
            f"PodTemplates may not be read: grant list and watch on podtemplates, as `propeller install` does ({error})"
        )
    return error
