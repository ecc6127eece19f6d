"""Quantities as apimachinery reads them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.kubelet._quantity import divide_quantity, parse_quantity
from propeller.errors import Invalid


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1.5Gi", 3 << 29),
        ("300M", "3e8"),
        ("2e3", "2000"),
        ("1E", "1e18"),
        ("-1k", "-1000"),
    ],
)
def test_a_quantity_is_its_number(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1.2.3", "1Kb", "0x10", "."])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Invalid, match="as 500m"):
        parse_quantity(text)


@given(st.integers(0, 10**12), st.sampled_from(["1", "1k", "1Mi"]))
def test_division_rounds_up(amount: int, divisor: str) -> None:
    size = int(parse_quantity(divisor))
    assert divide_quantity(amount, divisor) == -(-amount // size)
