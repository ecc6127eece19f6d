"""Kubernetes quantities ("500m", "1.5Gi", "2e3"): the amount, and the text in which Kubernetes writes it.

Source: k8s.io/apimachinery/pkg/api/resource, ParseQuantity, Quantity.RoundUp and Quantity.String.

Guarantees
    Amounts are exact to a billionth. Finer ones are rounded away from zero, and an amount in powers of 1024 is
    2^63 - 1 at most, as upstream has it. Amounts compare as numbers: `parse(a) < parse(b)`.
    The canonical text is upstream's, which keeps the text as it was written if it finds it canonical ("+5", "05").
Caveats
    Texts over `MAX_CHARACTERS`, and exponents over `MAX_EXPONENT`, are refused. Upstream takes them, and computes for
    minutes. Upstream writes 1000E, for which it has no suffix, as 1.
Errors
    NotAQuantity, an Invalid that shows how to write one; its `upstream` has Kubernetes' words.
"""

from __future__ import annotations

import functools
import re
from decimal import ROUND_UP, Context, Decimal
from typing import NamedTuple

from propeller.errors import Invalid

MAX_CHARACTERS = 500
MAX_EXPONENT = 999

NANO, MILLI = 9, 3
"""Decimal places: of all quantities, and of the resources of containers."""

_QUANTITY = re.compile(r"([+-]?)([0-9]*)(\.[0-9]*)?([numkMGTPEi]|[KMGTPE]i|[eE][+-]?[0-9]{1,9})?", re.ASCII)
_SCANNED = re.compile(r"[+-]?[0-9]*(?:\.[0-9]*)?([eEinumkKMGTP]*[+-]?[0-9]*)", re.ASCII)
_KNOWN_SUFFIX = re.compile(r"(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIXES = {exponent: suffix for suffix, exponent in _BINARY.items()}
_MAX_BINARY = 2**63 - 1
_MAX_FAST_DIGITS = 18
"""Digits that Kubernetes reads without arbitrary precision."""

_EXACT = Context(prec=2 * MAX_CHARACTERS + MAX_EXPONENT + 20)
"""Holds any amount that is taken."""


class NotAQuantity(Invalid):
    """Text that is no quantity. `upstream` is Kubernetes' message."""

    def __init__(self, message: str, upstream: str) -> None:
        super().__init__(message)
        self.upstream = upstream


class _Read(NamedTuple):
    negative: bool
    whole: str
    fraction: str
    base: int
    exponent: int
    scientific: bool


@functools.lru_cache(4096)
def parse(text: str) -> Decimal:
    """Return the amount: cores, bytes or a count. Raises NotAQuantity."""
    read = _read(text)
    number, places = _rounded(read, NANO)
    return Decimal(-number if read.negative else number).scaleb(-places, _EXACT)


@functools.lru_cache(4096)
def canonical(text: str, places: int = NANO) -> str:
    """Return the quantity as Kubernetes writes it, rounded away from zero to `places` decimal places.

    Raises NotAQuantity.
    """
    read = _read(text)
    if not (read.whole + read.fraction).strip("0"):
        return "0"
    if _is_kept_as_written(read, places):
        return text
    number, places = _rounded(read, places)
    written = _text(number, places, binary=read.base == 2, scientific=read.scientific)
    return "-" + written if read.negative else written


def is_quantity(text: str) -> bool:
    """Return whether Kubernetes takes the text for a quantity."""
    try:
        parse(text)
    except NotAQuantity:
        return False
    return True


def render(amount: Decimal, *, binary: bool = False) -> str:
    """Write an amount, in powers of 1024 if `binary` and it is whole, else in powers of 1000."""
    rounded = amount.quantize(Decimal(1).scaleb(-NANO), ROUND_UP, _EXACT)
    number = int(abs(rounded).scaleb(NANO, _EXACT))
    written = _text(number, NANO, binary=binary, scientific=False) if number else "0"
    return "-" + written if rounded < 0 else written


def _read(text: str) -> _Read:
    if len(text) > MAX_CHARACTERS:
        shown = f"{text[:20]!r}... of {len(text)} characters"
        raise NotAQuantity(f"{shown} is not a quantity: it may have {MAX_CHARACTERS}", "unable to parse quantity")
    match = _QUANTITY.fullmatch(text) if text else None
    if match is None:
        raise _refused(text)
    sign, whole, fraction, suffix = match.group(1), match.group(2), match.group(3) or ".", match.group(4) or ""
    scientific = suffix not in _BINARY and suffix not in _DECIMAL
    base = 2 if suffix in _BINARY else 10
    if not scientific:
        exponent = _BINARY[suffix] if base == 2 else _DECIMAL[suffix]
    elif suffix[0] in "eE":
        exponent = int(suffix[1:])
    else:
        raise _refused(text)
    if abs(exponent) > MAX_EXPONENT:
        raise _refused(text)
    if not whole and fraction == "." and (exponent < -NANO or (base == 2 and exponent > _BINARY["Ti"])):
        raise _refused(text)  # without a digit it is zero to Kubernetes, unless that takes arbitrary precision
    return _Read(sign == "-", whole.lstrip("0") or "0", fraction[1:], base, exponent, scientific)


def _refused(text: str) -> NotAQuantity:
    scanned = _SCANNED.fullmatch(text) if text else None
    if scanned is None:
        why = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    elif _KNOWN_SUFFIX.fullmatch(scanned[1]):
        why = "unable to parse numeric part of quantity"
    else:
        why = "unable to parse quantity's suffix"
    return NotAQuantity(f"{text!r} is not a quantity; write it like 500m, 2 or 1Gi", why)


def _is_kept_as_written(read: _Read, places: int) -> bool:
    """Kubernetes keeps the text of what it reads with 64 bits and finds canonical."""
    digits = read.whole + read.fraction
    if read.base == 2:
        precision = 15 - len(read.whole) - int(read.exponent * 3 / 10) - 1
        fits = precision >= 0 and not read.fraction and int(digits) << read.exponent <= _MAX_BINARY
        return fits and bool(int(digits) & 7)
    scale = read.exponent - len(read.fraction)
    if len(digits) > _MAX_FAST_DIGITS or scale < -places:
        return False
    return scale % 3 == 0 and not digits.endswith("000") and not digits.startswith("0")


def _rounded(read: _Read, places: int) -> tuple[int, int]:
    """The amount without its sign, as a number of tenths to some power."""
    number = int(read.whole + read.fraction)
    if read.base == 2:
        number, own = number << read.exponent, len(read.fraction)
    else:
        own = len(read.fraction) - read.exponent
    if own > places:
        number, own = -(-number // 10 ** min(own - places, len(str(number)) + 1)), places
    if own < 0:
        number, own = number * 10**-own, 0
    return (min(number, _MAX_BINARY * 10**own) if read.base == 2 else number), own


def _text(number: int, places: int, *, binary: bool, scientific: bool) -> str:
    """A positive amount of `number` units of ten to the minus `places`."""
    scale = 10**places
    if binary and number % scale == 0 and number >= 1024 * scale:
        amount, exponent = number // scale, 0
        while amount % 1024 == 0 and exponent < _BINARY["Ei"]:
            amount, exponent = amount // 1024, exponent + 10
        return f"{amount}{_BINARY_SUFFIXES.get(exponent, '')}"
    exponent = -places
    while number % 10 == 0:
        number, exponent = number // 10, exponent + 1
    while exponent % 3 or (exponent > _DECIMAL["E"] and not scientific):
        number, exponent = number * 10, exponent - 1
    if scientific:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIXES[exponent]}"
