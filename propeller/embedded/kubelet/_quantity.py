"""Kubernetes quantities ("500m", "1.5Gi", "2e3") as exact numbers (apimachinery, resource.Quantity)."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from propeller.errors import Invalid

_FORM = re.compile(r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]{1,3})|([KMGTPE]i|[numkMGTPE]))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def parse_quantity(text: str | float) -> Decimal:
    """The number that a quantity stands for (cores, bytes); raises `Invalid` on anything else."""
    form = _FORM.fullmatch(str(text).strip())
    if form is None or form[1].count(".") > 1 or not any(map(str.isdigit, form[1])):
        raise Invalid(f"{text!r} is not a quantity: write a number with a unit, as 500m, 2, 1.5Gi or 300M")
    number = Decimal(form[1] + (form[2] or ""))
    if form[3] in _BINARY:
        return number * (Decimal(1024) ** _BINARY[form[3]])
    return number.scaleb(_DECIMAL.get(form[3] or "", 0))


def divide_quantity(text: str | float, divisor: str | float = "1") -> int:
    """How many divisors fit, rounded up: what a resourceFieldRef resolves to. A divisor of 0 means 1, as upstream has
    it.
    """
    return math.ceil(parse_quantity(text) / (parse_quantity(divisor) or Decimal(1)))
