"""What the object store keeps of an execution whose FlyteWorkflow is gone: documents of its nodes, by attempt.

Guarantees
    Read are only blobs below the directory of one execution. Of several executions of one name none is chosen: people
    name its directory.
Caveats
    The graph is gone with the FlyteWorkflow: inputs and error of the whole execution, kinds of nodes and phases are not
    known, and of a node's attempts the last one that left outputs counts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import msgspec
from flyteidl.core import errors_pb2, execution_pb2, literals_pb2

from propeller.errors import Invalid, PropellerError
from propeller.redaction import redact
from propeller.storage import Storage, read_literals
from propeller.text import bounded
from propeller.wire import parse
from propeller.workflow import unique_node_id

MAX_BLOBS = 100_000
"""Below one execution's directory: each page of a thousand is a request."""

_DOCUMENTS = frozenset({"inputs.pb", "outputs.pb", "error.pb", "deck.html"})
_END = "end-node"
_UID = re.compile(r"-[0-9a-f]{8}")
_MAX_ERROR_MESSAGES = 100
_MAX_IDS = 64
"""Of one document: a number in its path may be a map's item or a node's own id, and each of six may be either."""
_MAX_DIGITS = 9
"""Of an attempt's number."""


class Kept(msgspec.Struct, frozen=True):
    """`documents` are URIs by the node's id that is unique in the execution, its attempt (-1 for inputs), and name."""

    directory: str
    documents: dict[str, dict[int, dict[str, str]]]

    def uri(self, node: str, name: str, attempt: int | None = None) -> str:
        """Where a node's document is, by default that of the last attempt that has it; "" if there is none. Raises
        Invalid if there is no such node.
        """
        attempts = self.documents.get(node)
        if attempts is None:
            known = ", ".join(sorted(one for one in self.documents if one != _END)[:20])
            raise Invalid(f"{self.directory} has nothing of a node {node!r}; it has {known or 'nothing of any node'}")
        if attempt is not None:
            return attempts.get(attempt, {}).get(name, "")
        return next((attempts[one][name] for one in sorted(attempts, reverse=True) if name in attempts[one]), "")


async def find_kept(execution: str, namespace: str, prefix: str, storage: Storage) -> Kept:
    """Find what is kept of an execution, which is named as its FlyteWorkflow was or as its directory is: by default a
    namespace is PROJECT-DOMAIN, and a directory PROJECT-DOMAIN-NAME-UID. Raises PropellerError if there is nothing, and
    Invalid for several.
    """
    prefix, found = prefix.rstrip("/"), dict[str, list[str]]()
    stems = (f"{namespace}-{execution}", execution)
    for stem, after in itertools.product(stems, "/-"):  # a UID follows; other names begin as this one does
        uris = await storage.list_blobs(f"{prefix}/{stem}{after}", MAX_BLOBS)
        if len(uris) >= MAX_BLOBS:
            raise Invalid(f"{prefix}/{stem} has {MAX_BLOBS} blobs or more: read them with a tool of the object store")
        for uri in uris:
            directory, _, rest = uri.removeprefix(f"{prefix}/").partition("/")
            if rest and (directory == stem or _UID.fullmatch(directory.removeprefix(stem))):
                found.setdefault(directory, []).append(rest)
    if not found:
        raise PropellerError(f"nothing of an execution {execution} is below {prefix} either")
    if len(found) > 1:
        raise Invalid(f"several executions were named {execution}: name one of {', '.join(sorted(found)[:20])}")
    ((directory, paths),) = found.items()
    documents: dict[str, dict[int, dict[str, str]]] = {}
    for path in paths:
        for node, attempt, name in _of(path):
            documents.setdefault(node, {}).setdefault(attempt, {})[name] = f"{prefix}/{directory}/{path}"
    return Kept(f"{prefix}/{directory}", documents)


def _of(path: str) -> Iterator[tuple[str, int, str]]:
    """The node, attempt and name of a document, by FlytePropeller's layout: `NODE/data/ATTEMPT/outputs.pb`, with nodes
    inside of an attempt as `NODE/ATTEMPT` below it. An item of a map node is named by its number there.
    """
    top, data, *inside = path.split("/")
    if data != "data" or not inside or inside[-1] not in _DOCUMENTS:
        return
    *inside, name = inside
    if name != "inputs.pb" and len(inside) >= 4 and len(inside) % 2 == 0:
        inside.pop()  # outputs of an item have its number once more
    if (len(inside) % 2 == 0) != (name == "inputs.pb"):
        return
    attempts, nodes = inside[::2], inside[1::2]
    if not all(attempt.isascii() and attempt.isdigit() and len(attempt) <= _MAX_DIGITS for attempt in attempts):
        return
    ids = [top]
    for attempt, node in zip(attempts, nodes, strict=False):
        spelled = (node, f"n{node}") if node.isascii() and node.isdigit() else (node,)
        if len(ids) * len(spelled) > _MAX_IDS:
            return
        ids = [unique_node_id(one, int(attempt), own) for one in ids for own in spelled]
    for one in ids:
        yield one, -1 if name == "inputs.pb" else int(attempts[-1]), name


async def kept_literals(kept: Kept, node: str, part: str, storage: Storage) -> literals_pb2.LiteralMap | None:
    """Inputs or outputs of a node, "" for outputs of the whole execution; None if none are kept."""
    if not node and part == "inputs":
        return None
    node = node or _END
    uri = kept.uri(node, f"{part}.pb") if node in kept.documents or node != _END else ""
    return await read_literals(storage, uri) if uri else None


async def kept_error(kept: Kept, node: str, storage: Storage) -> dict[str, str] | None:
    """What the task of a node has written of its failure, unless a later attempt left outputs."""
    if not node or kept.uri(node, "outputs.pb") or not (uri := kept.uri(node, "error.pb")):
        return None
    document = parse(errors_pb2.ErrorDocument, await storage.read(uri), _MAX_ERROR_MESSAGES, uri)
    system = document.error.origin == execution_pb2.ExecutionError.SYSTEM
    return {
        "code": bounded(document.error.code, 200),
        "kind": "SYSTEM" if system else "USER",
        "message": bounded(redact(document.error.message)),
        "node": node,
    }
