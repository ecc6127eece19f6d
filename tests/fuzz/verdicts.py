"""What became of a damaged execution, judged as its owner would: by the status alone."""

from __future__ import annotations

import enum
import re
from typing import Any

import msgspec

from tests.fuzz.damage import RENAMED, Damage

_ENDED = {3: "SUCCEEDED", 5: "FAILED", 6: "ABORTED"}
_WORDS_OF_PYTHON = re.compile(
    r"Expected `|Object (missing|contains)|NoneType|"
    r"object has no attribute|not (iterable|subscriptable|callable)|unhashable|"
    r"Traceback|\b(Key|Type|Value|Index|Attribute|Assertion|Recursion|Overflow|Unicode\w*|Decode|Validation)Error\b|"
    r"InternalError|msgspec|unsupported operand|must be (str|int|dict)|takes \d+ positional|`\$[.\[]"
)
_CONSEQUENCES = frozenset(
    {
        "OutputsNotFound",
        "BindingResolutionFailure",
        "NotSupported",
        "UserProvidedError",
        "MalformedBranchUserError",
        "BadTaskFormat",
    }
)
"""Codes of what goes wrong elsewhere than where the damage is, or with the workflow as it was: such a message names its
node and variable.
"""
_HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Verdict(enum.StrEnum):
    RAN = "ran"
    NAMED = "failed, with the field named"
    WAITS = "waits, and says for what"
    UNCLEAR = "failed unclearly"
    SILENT = "stayed without a status"
    STUCK = "did not end, and says nothing"


class Finding(msgspec.Struct, frozen=True):
    name: str
    damage: str
    verdict: Verdict
    text: str


def judge(name: str, damages: list[Damage], status: dict[str, Any], *, waits: str = "") -> Finding:
    """`waits` is what the execution's state says that it waits for, "" if it does not wait."""
    told = "; ".join(map(str, damages))[:300]
    if not status.get("phase"):
        return Finding(name, told, Verdict.SILENT, "")
    text = _text(status)
    match _ENDED.get(status["phase"]):
        case "SUCCEEDED":
            return Finding(name, told, Verdict.RAN, "")
        case "FAILED":
            code = (status.get("error") or {}).get("code")
            verdict = Verdict.NAMED if is_clear(text, [] if code in _CONSEQUENCES else damages) else Verdict.UNCLEAR
            return Finding(name, told, verdict, text)
        case "ABORTED":
            return Finding(name, told, Verdict.UNCLEAR, text)
        case _:
            return Finding(name, told, Verdict.WAITS if waits else Verdict.STUCK, waits or text)


def is_clear(text: str, damages: list[Damage]) -> bool:
    """Whether a message names what was damaged: a member of its path, or its value; in words that are no program's."""
    if not text or _WORDS_OF_PYTHON.search(text) or _HARMFUL.search(text) or len(text) > 20_000:
        return False
    lower = text.lower()
    if "docs/differences.md" in text:
        return True  # the workflow asks for a feature that is listed as absent, damaged or not
    return not damages or any(_names(lower, damage) for damage in damages)


def _names(text: str, damage: Damage) -> bool:
    parts = [part for part in damage.path if isinstance(part, str)]
    if damage.how.startswith(RENAMED):
        parts.append(damage.how.removeprefix(RENAMED))
    members = [part.lower() for part in parts]
    members += [re.sub(r"(?<!^)(?=[A-Z])", joint, part).lower() for part in parts for joint in "_-"]
    quoted = [f"'{part.lower()}'" for part in parts]
    of_input = "inputs" in damage.path and re.search(r"input '[^']+'", text)  # an item's has the item's name
    return bool(of_input) or any(member in text for member in (*members, *quoted) if len(member) > 1)


def _text(status: dict[str, Any]) -> str:
    error = status.get("error")
    parts = [status.get("message")]
    if isinstance(error, dict):
        parts += [error.get("code"), error.get("message")]
    return " | ".join(str(part) for part in parts if part)
