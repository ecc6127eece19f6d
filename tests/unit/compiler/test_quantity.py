"""Quantities, against the table of Kubernetes' own behaviour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.compiler._quantity import canonical_quantity, is_quantity


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1", "1"),
        ("1000m", "1"),
        ("500m", "500m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1024Mi", "1Gi"),
        ("512Mi", "512Mi"),
        ("1Gi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1000", "1k"),
        ("2000000", "2M"),
        ("1e3", "1e3"),
        ("10e3", "10e3"),
        ("1E", "1E"),
        ("100Ki", "100Ki"),
        ("512", "512"),
        ("-5", "-5"),
        ("+5", "+5"),
        ("05", "05"),
        ("5.", "5."),
        (".5", "500m"),
        ("0.0000000001", "1n"),
        ("999999999Ei", "9223372036854775807"),
        ("0", "0"),
        ("0Gi", "0"),
        ("m", "0"),
    ],
)
def test_a_quantity_is_written_as_kubernetes_writes_it(written: str, canonical: str) -> None:
    assert canonical_quantity(written) == canonical


@pytest.mark.parametrize(
    "text", ["", "x", "1x", "1 Gi", "1mi", "1.2.3", "--1", "1e", "Pi", "1Gi1", "1e99999999999", "٣"]
)
def test_what_is_no_quantity_is_none(text: str) -> None:
    assert canonical_quantity(text) is None
    assert not is_quantity(text)


@given(st.text("0123456789.+-eEinumkKMGTP", max_size=30))
def test_writing_a_quantity_again_changes_nothing(text: str) -> None:
    once = canonical_quantity(text)
    if once is not None:
        assert canonical_quantity(once) == once or once == text
