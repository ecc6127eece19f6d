"""Quantities ("500m", "1.5Gi", "2e3") as exact numbers and in the one form in which the server stores them.

Source: k8s.io/apimachinery/pkg/api/resource, Quantity. What is finer than a thousandth is rounded up, as for container
resources; what is larger than 2^63 - 1 in powers of 1024 is that.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

_FORM = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([KMGTPE]i|[numkMGTPE]))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIXES = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_MILLI = Decimal("0.001")
_EXACT = Context(prec=100)
_LARGEST_BINARY, _LARGEST_DECIMAL = Decimal(2**63 - 1), Decimal(10) ** 60
_LARGEST_POWER = 1000
"""Beyond it an exponent makes no difference: the amount is the largest or the smallest there is."""

_LONGEST_EXPONENT = 20
"""Characters: the letter, a sign, and what fits into 64 bits."""


class NotAQuantity(ValueError):
    """Text that is no quantity."""


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Decimal:
    """The number of cores, bytes or whatever is counted. Raises NotAQuantity."""
    return _split(text)[0]


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The same amount in the server's form: no fraction, the largest suffix that needs none. Raises NotAQuantity."""
    number, exponent, suffix = _split(text)
    if _EXACT.remainder(number, _MILLI):
        number = number.quantize(_MILLI, rounding=ROUND_CEILING, context=_EXACT)
    return render(number, binary=suffix in _BINARY[1:], exponent=bool(exponent))


def render(number: Decimal, *, binary: bool = False, exponent: bool = False) -> str:
    """A number as a quantity: in powers of 1024, in powers of 1000 by suffix, or by exponent."""
    if not number:
        return "0"
    if binary and abs(number) >= 1024:
        whole = int(number.to_integral_value(rounding=ROUND_CEILING))
        power = 0
        while whole % 1024 == 0 and power < len(_BINARY) - 1:
            whole //= 1024
            power += 1
        return f"{whole}{_BINARY[power]}"
    scaled = number.normalize(_EXACT)
    _, digits, power10 = scaled.as_tuple()
    assert isinstance(power10, int)
    mantissa = int("".join(map(str, digits))) * (-1 if number < 0 else 1)
    mantissa *= 10 ** (power10 % 3)
    power10 -= power10 % 3
    while power10 > 18:
        mantissa, power10 = mantissa * 1000, power10 - 3
    if exponent:
        return f"{mantissa}e{power10}" if power10 else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIXES[power10]}"


def canonicalize(amounts: Mapping[str, Any]) -> dict[str, str]:
    """A resource list with every amount in the server's form; numbers become text."""
    return {name: canonical(str(amount)) for name, amount in amounts.items()}


def _split(text: str) -> tuple[Decimal, str, str]:
    found = _FORM.fullmatch(text)
    if found is None:
        raise NotAQuantity(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    exponent, suffix = found[2] or "", found[3] or ""
    if len(exponent) > _LONGEST_EXPONENT:
        raise NotAQuantity("unable to parse quantity's suffix")
    power = max(min(int(exponent[1:] or 0), _LARGEST_POWER), -_LARGEST_POWER)
    number, largest = Decimal(found[1]).scaleb(power, _EXACT), _LARGEST_DECIMAL
    if suffix in _BINARY[1:]:
        number, largest = number * 1024 ** _BINARY.index(suffix), _LARGEST_BINARY
    else:
        number = number.scaleb(_DECIMAL[suffix], _EXACT)
    return max(min(number, largest), -largest), exponent, suffix
