"""Small damage to messages and documents: what a bug, a hostile user or a bad disk could do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

M = TypeVar("M", bound=Message)

TEXTS = ("", "n0", "n1", "start-node", "end-node", "x", "o0", "[0].o0", "a.b", "\x00", "ü", "$", "1e3", "-")
NUMBERS = (0, 1, -1, 7, 99, 2**31 - 1, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.5, 1e300, float("inf"), float("nan"))
VALUES: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "n0", "start-node", [], {}, [[]], {"a": {}}, "FAIL", 2**70)


def mutate(random: Random, root: Message, times: int) -> None:
    """Change a few fields somewhere in the message, in place."""
    for _ in range(times):
        messages = [message for message in messages_of(root) if message.DESCRIPTOR.fields]
        _mutate_one(random, random.choice(messages), messages)


def damage(random: Random, message: M) -> M | None:
    """Change, drop or double a few bytes of the message; None if it does not parse any more."""
    data = bytearray(message.SerializeToString())
    for _ in range(random.randint(1, 4)):
        if not data:
            break
        at = random.randrange(len(data))
        match random.randrange(3):
            case 0:
                data[at] = random.randrange(256)
            case 1:
                del data[at : at + random.randint(1, 8)]
            case _:
                data[at:at] = data[at : at + random.randint(1, 8)]
    try:
        return type(message).FromString(bytes(data))
    except DecodeError:
        return None


def mutate_json(random: Random, document: Any, times: int) -> None:
    """Replace, drop or add members somewhere in a JSON document, in place."""
    for _ in range(times):
        holders = [holder for holder in _holders(document) if holder]
        holder = random.choice(holders)
        key = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
        match random.randrange(3):
            case 0:
                holder[key] = random.choice(VALUES)
            case 1:
                del holder[key]
            case _ if isinstance(holder, dict):
                holder[random.choice(TEXTS)] = holder[key]
            case _:
                holder.append(random.choice(VALUES))


def messages_of(root: Message) -> Iterator[Message]:
    """The message and every message in it."""
    stack = [root]
    while stack:
        message = stack.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            if field.message_type.GetOptions().map_entry:
                if field.message_type.fields_by_name["value"].message_type is not None:
                    stack.extend(value[key] for key in value)
            elif field.is_repeated:
                stack.extend(value)
            else:
                stack.append(value)


def _mutate_one(random: Random, message: Any, others: Sequence[Message]) -> None:
    field = random.choice(list(message.DESCRIPTOR.fields))
    if message.ListFields() and random.random() < 0.7:
        field = random.choice(message.ListFields())[0]
    donors = [other for other in others if other.DESCRIPTOR is field.message_type]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entries = getattr(message, field.name)
        if entries:
            del entries[random.choice(list(entries))]
    elif field.is_repeated:
        items = getattr(message, field.name)
        if len(items) and random.random() < 0.5:
            del items[random.randrange(len(items))]
        elif donors:
            copy = type(donors[0]).FromString(random.choice(donors).SerializeToString())
            items.append(copy)
        elif field.type == FieldDescriptor.TYPE_STRING:
            items.append(random.choice(TEXTS))
    elif field.message_type is not None:
        if donors and random.random() < 0.6:
            copy = type(donors[0]).FromString(random.choice(donors).SerializeToString())
            getattr(message, field.name).CopyFrom(copy)
        elif random.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    else:
        _set_scalar(random, message, field)


def _set_scalar(random: Random, message: Any, field: FieldDescriptor) -> None:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            value: Any = b"x" if field.type == FieldDescriptor.TYPE_BYTES else random.choice(TEXTS)
        case FieldDescriptor.CPPTYPE_BOOL:
            value = random.random() < 0.5
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            value = random.choice(FLOATS)
        case _:
            value = random.choice(NUMBERS)
    try:
        setattr(message, field.name, value)
    except ValueError:
        message.ClearField(field.name)  # out of the field's range


def _holders(document: Any) -> Iterator[Any]:
    stack = [document]
    while stack:
        part = stack.pop()
        if isinstance(part, dict | list):
            yield part
            stack.extend(part.values() if isinstance(part, dict) else part)
