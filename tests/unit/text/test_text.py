"""Text of others made fit for terminals, logs and statuses."""

from __future__ import annotations

import sys
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Conflict, PropellerError, Rejected, Unavailable
from propeller.text import MESSAGE_CHARACTERS, bounded, headline, one_line, visible, visible_json

ACTING = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
HIDDEN = "\u034f\u115f\u3164\uffa0\u180b\ufe00\U000e0100\U000e0041"
HOSTILE = "".join(ACTING) + HIDDEN


def test_everything_that_acts_or_hides_is_shown_as_an_escape() -> None:
    assert not set(visible(HOSTILE)) & (set(HOSTILE) - set("\n\t"))
    assert not set(one_line(HOSTILE)) & set(HOSTILE)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("\x9b2J", "\\x9b2J"),
        ("a\r\nb", "a\\r\nb"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_an_escape_is_what_python_writes(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["plain\n\ttext", "äöü 日本語 ✔\ufe0f 🎉", "עברית العربية", "a\\b"])
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_line_stays_one_line() -> None:
    assert one_line("a\nb\tc\u2028d\x85e") == "a\\nb\\tc\\u2028d\\x85e"


@given(st.text())
def test_what_is_visible_stays_as_it_is(text: str) -> None:
    assert visible(visible(text)) == visible(text)
    assert one_line(one_line(text)) == one_line(text)
    one_line(text).encode()  # no lone surrogate is left


def test_json_keeps_its_value_and_is_visible() -> None:
    value = {"a": "".join(character for character in HOSTILE if not "\ud800" <= character <= "\udfff")}
    document = visible_json(orjson.dumps(value))
    assert orjson.loads(document) == value
    assert visible(document.decode()) == document.decode()


@pytest.mark.parametrize("limit", [0, 2, 20, 127, 128, 129, 1000, MESSAGE_CHARACTERS])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 1000, 20_000, 200_000])
def test_a_bound_is_kept_and_what_fits_is_left_alone(limit: int, size: int) -> None:
    text = "begin" + "x" * size + "end"
    found = bounded(text, limit)
    assert len(found) <= limit
    assert bounded(found, limit) == found
    if len(text) <= limit:
        assert found == text
    elif limit > 200:
        assert found.startswith("begin")
        assert found.endswith("end")
        kept = found.count("x") - "characters left out".count("x")
        left_out = int("".join(filter(str.isdigit, found)))
        assert kept + len("beginend") + left_out == len(text)


@pytest.mark.parametrize("offset", range(0, 600, 7))
def test_a_secret_is_not_cut_into_what_nobody_recognises(offset: int) -> None:
    """Half a token in the end that is kept has no form that redaction knows."""
    secret = "Authorization: Bearer " + "hunter2" * 40
    text = "x " * 300 + " " * offset + secret + " y" * 500
    assert "hunter2" not in bounded(text, 1000 + offset)


@pytest.mark.parametrize("type_", [PropellerError, Unavailable, Conflict, Rejected])
def test_an_error_is_bounded_and_shows_no_credential(type_: type[PropellerError]) -> None:
    error = type_("cannot reach https://me:hunter2@host " + "x" * 1_000_000)
    assert len(str(error)) <= MESSAGE_CHARACTERS
    assert "hunter2" not in str(error) + repr(error)
    assert str(error).startswith("cannot reach https://***@host")


def test_the_reason_of_a_rejection_is_bounded() -> None:
    assert len(Rejected("no", reason="x" * 1_000_000).reason) < 1000


FLYTEKIT = """Trace:

    Traceback (most recent call last):
      File "flow.py", line 7, in t
        raise ValueError("boom")

Message:

    ValueError: boom
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no room\nin the queue", "no room"),
        ("\n\n  no room  \n", "no room"),
        ("Traceback (most recent call last):\n  File x\nValueError: boom\n", "ValueError: boom"),
        ("[p] ended: Traceback (most recent call last):\n  File x\nValueError: boom", "[p] ended: ValueError: boom"),
        (FLYTEKIT, "ValueError: boom"),
        ("Trace:\n\n  last", "last"),
        ("Trace:", "Trace:"),
        ("", ""),
        ("Message:\n", "Message:"),
        ("m" * 1000, "m" * 197 + "..."),
        ("password=" + "h" * 1000, "password=***..."),
    ],
)
def test_the_headline_of_an_error_is_its_first_line_or_what_its_traceback_ends_in(text: str, line: str) -> None:
    assert headline(text, 200) == line
