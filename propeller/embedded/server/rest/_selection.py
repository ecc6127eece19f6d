"""Which objects a list or a watch is about: namespace, labels, fields."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from propeller.embedded.server._errors import bad_request
from propeller.embedded.server._storage import Record
from propeller.embedded.server.negotiation._requests import Target
from propeller.errors import Invalid
from propeller.kube import LabelSelector, parse_field_selector, parse_label_selector

_NAME, _NAMESPACE = -1, -2


class Selection(msgspec.Struct, frozen=True):
    """`fields` are `(position in the record's fields, equal, value)`; negative positions stand for the metadata's."""

    namespace: str = ""
    labels: LabelSelector | None = None
    fields: tuple[tuple[int, bool, str], ...] = ()

    @property
    def is_selective(self) -> bool:
        """Whether it looks at more than the namespace."""
        return self.labels is not None or bool(self.fields)

    def matches(self, record: Record) -> bool:
        if self.namespace and record.namespace != self.namespace:
            return False
        if self.labels is not None:
            for requirement in self.labels.requirements:
                if not requirement.matches(record.labels):
                    return False
        return not self.fields or all(
            (_value(record, position) == value) is equal for position, equal, value in self.fields
        )


def selection_of(target: Target, query: Mapping[str, str]) -> Selection:
    """The selection of a request. Raises Failure for a selector that does not parse or names an unknown field."""
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if not labels and not fields and not target.name:
        return Selection(target.namespace)
    try:
        label_selector = parse_label_selector(labels) if labels else None
    except Invalid as error:
        raise bad_request(f"unable to parse requirement: {error}") from error
    terms = _field_terms(target, fields) if fields else ()
    if target.name:
        terms = (*terms, (_NAME, True, target.name))
    return Selection(target.namespace, label_selector, terms)


def _field_terms(target: Target, text: str) -> tuple[tuple[int, bool, str], ...]:
    try:
        selector = parse_field_selector(text)
    except Invalid as error:
        raise bad_request(f"invalid selector: '{text}'; {error}") from error
    return tuple((_position(target, path), equal, value) for path, equal, value in selector.terms)


def _position(target: Target, path: str) -> int:
    selectable = target.kind.strategy.selectable
    if path in selectable:
        return selectable.index(path)
    if path == "metadata.name":
        return _NAME
    if path == "metadata.namespace":
        return _NAMESPACE
    if selectable or target.kind.custom:
        raise bad_request(f"field label not supported: {path}")
    raise bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _value(record: Record, position: int) -> str:
    match position:
        case -1:
            return record.name
        case -2:
            return record.namespace
        case _:
            return record.fields[position]
