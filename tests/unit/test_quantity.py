"""Quantities, as Kubernetes reads and writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.quantity import MAX_CHARACTERS, MILLI, NotAQuantity, canonical, is_quantity, parse, render
from tests.quantities import REFUSED, ROWS

TEXTS = st.text("0123456789.+-eEinumkKMGTP", max_size=30)


@pytest.mark.parametrize(("text", "amount", "written", "in_thousandths"), ROWS)
def test_a_quantity_is_read_and_written_as_kubernetes_does(
    text: str, amount: str, written: str, in_thousandths: str
) -> None:
    assert parse(text) == Decimal(amount)
    assert canonical(text) == written
    assert canonical(text, MILLI) == in_thousandths
    assert is_quantity(text)


@pytest.mark.parametrize(("text", "upstream"), REFUSED.items())
def test_a_text_that_is_no_quantity_is_refused_with_an_example(text: str, upstream: str) -> None:
    for reads in (parse, canonical):
        with pytest.raises(NotAQuantity, match="is not a quantity; write it like 500m, 2 or 1Gi") as refused:
            reads(text)
        assert refused.value.upstream == upstream
    assert not is_quantity(text)


@pytest.mark.parametrize("text", ["1e1000", "1e-1000", "1e999999999", "1e99999999999"])
def test_an_exponent_for_which_kubernetes_computes_for_minutes_is_refused(text: str) -> None:
    with pytest.raises(NotAQuantity):
        parse(text)


def test_the_longest_text_that_is_read_is_exact_and_a_longer_one_is_refused_in_short() -> None:
    assert parse("9" * MAX_CHARACTERS) == 10**MAX_CHARACTERS - 1
    with pytest.raises(NotAQuantity, match=r"^'9{20}'\.\.\. of 501 characters"):
        parse("9" * (MAX_CHARACTERS + 1))


@pytest.mark.parametrize(("less", "more"), [("999m", "1"), ("1023Mi", "1Gi"), ("1G", "1Gi"), ("-1", "0"), ("0", "1n")])
def test_amounts_compare_as_numbers(less: str, more: str) -> None:
    assert parse(less) < parse(more)


@given(TEXTS)
def test_writing_a_quantity_again_changes_nothing(text: str) -> None:
    if is_quantity(text):
        once = canonical(text)
        assert canonical(once) == once
        assert parse(once) == parse(text)


@given(st.integers(-(10**15), 10**15), st.integers(0, 9), st.booleans())
def test_an_amount_that_is_rendered_is_read_back(number: int, places: int, binary: bool) -> None:
    amount = Decimal(number).scaleb(-places)
    assert parse(render(amount, binary=binary)) == amount


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (1536, "1536"), (3 << 30, "3Gi"), (-(1 << 20), "-1Mi")])
def test_whole_amounts_are_rendered_in_powers_of_1024_when_asked(amount: int, text: str) -> None:
    assert render(Decimal(amount), binary=True) == text
