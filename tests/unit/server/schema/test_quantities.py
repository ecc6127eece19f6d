"""Quantities keep their amount, and take the server's form."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.server.schema._quantities import NotAQuantity, canonical, parse, render

SUFFIXES = ("", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E-2", "e+1")


@pytest.mark.parametrize(
    ("given_", "form"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5Gi", "1536Mi"),
        ("1024", "1024"),
        ("2048Ki", "2Mi"),
        ("1e3", "1e3"),
        ("1500", "1500"),
        ("1000", "1k"),
        ("0", "0"),
        ("0Gi", "0"),
        ("-1.5", "-1500m"),
        ("100u", "1m"),
        ("+3", "3"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.1Ki", "102400m"),
    ],
)
def test_the_form_is_the_real_servers(given_: str, form: str) -> None:
    assert canonical(given_) == form


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "1GiB", "Gi", "1e", "--1", "1.2.3", "e3", "\u0663"])
def test_other_text_is_no_quantity(text: str) -> None:
    with pytest.raises(NotAQuantity):
        parse(text)


@given(st.integers(-(10**9), 10**9), st.sampled_from(SUFFIXES))
def test_the_form_has_the_same_amount_and_is_its_own_form(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    form = canonical(text)
    assert parse(form) == parse(text) or parse(text) % Decimal("0.001")
    assert canonical(form) == form


@given(st.integers(0, 10**15), st.booleans())
def test_what_is_rendered_is_read_back(number: int, binary: bool) -> None:
    assert parse(render(Decimal(number), binary=binary)) == number
