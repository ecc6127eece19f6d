"""Kubernetes quantities: is it one, is it zero, and how Kubernetes writes it.

Source: k8s.io/apimachinery/pkg/api/resource. A quantity is written canonically (1000m becomes 1, 1024Mi becomes 1Gi),
save where Kubernetes takes the text to be canonical already.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_QUANTITY = re.compile(r"([+-]?)([0-9]*)(\.[0-9]*)?([numkMGTPEi]|[KMGTPE]i|[eE][+-]?[0-9]{1,9})?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIXES = {exponent: suffix for suffix, exponent in _BINARY.items()}
_LARGEST = 2**63 - 1
_LARGEST_EXPONENT = 999
"""Far beyond any quantity. Kubernetes takes more, and then computes for minutes."""

_MOST_DIGITS = 18
"""That Kubernetes reads without arbitrary precision."""

_MOST_CHARACTERS = 500
"""Of a quantity that is read at all."""

_SCALE = 9
"""Decimal places kept: nano."""


class _Read(NamedTuple):
    negative: bool
    whole: str
    fraction: str
    base: int
    exponent: int
    scientific: bool


def is_quantity(text: str) -> bool:
    return _read(text) is not None


def canonical_quantity(text: str) -> str | None:
    """The quantity as Kubernetes writes it; "0" where it is zero, None where it is none."""
    read = _read(text)
    if read is None:
        return None
    digits = (read.whole + read.fraction).lstrip("0")
    if not digits:
        return "0"
    if _kept_as_written(read):
        return text
    sign = "-" if read.negative else ""
    if read.base == 2:
        return sign + _binary_text(int(digits), len(read.fraction), read.exponent)
    return sign + _decimal_text(int(digits), read.exponent - len(read.fraction), scientific=read.scientific)


def _read(text: str) -> _Read | None:
    match = _QUANTITY.fullmatch(text) if 0 < len(text) <= _MOST_CHARACTERS else None
    if match is None:
        return None
    sign, whole, fraction, suffix = match.group(1), match.group(2), match.group(3) or ".", match.group(4) or ""
    scientific = suffix not in _BINARY and suffix not in _DECIMAL
    base = 2 if suffix in _BINARY else 10
    if not scientific:
        exponent = _BINARY[suffix] if base == 2 else _DECIMAL[suffix]
    elif suffix[0] in "eE":
        exponent = int(suffix[1:])
    else:
        return None
    if abs(exponent) > _LARGEST_EXPONENT:
        return None
    if not whole and fraction == "." and (exponent < -_SCALE or (base == 2 and exponent > _BINARY["Ti"])):
        return None  # no digit is zero to Kubernetes, save where it needs arbitrary precision
    return _Read(sign == "-", whole.lstrip("0") or "0", fraction[1:], base, exponent, scientific)


def _kept_as_written(read: _Read) -> bool:
    """Kubernetes keeps the text of what it reads with 64 bits and finds canonical."""
    digits = read.whole + read.fraction
    if read.base == 2:
        precision = 15 - len(read.whole) - int(read.exponent * 3 / 10) - 1
        fits = precision >= 0 and not read.fraction and int(digits) << read.exponent <= _LARGEST
        return fits and bool(int(digits) & 7)
    scale = read.exponent - len(read.fraction)
    if len(digits) > _MOST_DIGITS or scale < -_SCALE:
        return False
    return scale % 3 == 0 and not digits.endswith("000") and not digits.startswith("0")


def _decimal_text(number: int, exponent: int, *, scientific: bool) -> str:
    """`number` times ten to the `exponent`, with an exponent that is a multiple of three."""
    if exponent < -_SCALE:
        divisor = 10 ** min(-_SCALE - exponent, len(str(number)) + 1)
        number, exponent = -(-number // divisor), -_SCALE
    while number % 10 == 0:
        number, exponent = number // 10, exponent + 1
    while exponent % 3:
        number, exponent = number * 10, exponent - 1
    if scientific:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIXES.get(exponent, '')}"


def _binary_text(number: int, places: int, exponent: int) -> str:
    value = number << exponent
    if places > _SCALE:
        value, places = -(-value // 10 ** (places - _SCALE)), _SCALE
    scale = 10**places
    value = min(value, _LARGEST * scale)
    if value % scale or value < 1024 * scale:
        return _decimal_text(value, -places, scientific=False)
    amount, exponent = value // scale, 0
    while amount % 1024 == 0:
        amount, exponent = amount // 1024, exponent + 10
    return f"{amount}{_BINARY_SUFFIXES.get(exponent, '')}"
