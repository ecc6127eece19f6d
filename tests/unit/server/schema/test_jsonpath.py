"""The paths that definitions use for columns and selectable fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.server.schema._jsonpath import BadPath, find, first

OBJECT: dict[str, Any] = {
    "metadata": {"annotations": {"a.b/c": "dotted"}},
    "spec": {"size": 3, "items": [{"name": "x", "n": 1}, {"name": "y", "n": 2}], "off": False, "nothing": None},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Idle", "status": "False"}]},
}

PATHS: list[tuple[str, list[Any]]] = [
    (".spec.size", [3]),
    ("{.spec.size}", [3]),
    ("$.spec.size", [3]),
    (".spec['size']", [3]),
    ('["spec"]["size"]', [3]),
    (".spec.off", [False]),
    (".spec.nothing", [None]),
    (".spec.items[0].name", ["x"]),
    (".spec.items[-1].name", ["y"]),
    (".spec.items[2].name", []),
    (".spec.items[*].n", [1, 2]),
    (".spec.items[-1:].name", ["y"]),
    (".spec.items[0:1].n", [1]),
    (".spec.items[:].n", [1, 2]),
    (".spec.items[::2].n", [1]),
    (".spec.items[5:].n", []),
    (".spec.size[:1]", []),
    (".spec.size[0]", []),
    (".metadata.annotations['a\\.b/c']", ["dotted"]),
    (".metadata.annotations.a\\.b/c", ["dotted"]),
    ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
    (".status.conditions[?(@.type != 'Ready')].type", ["Idle"]),
    ('.status.conditions[?(@.type=="Gone")].status', []),
    (".absent.member", []),
]


@pytest.mark.parametrize(("path", "values"), PATHS)
def test_a_path_finds(path: str, values: list[Any]) -> None:
    assert list(find(OBJECT, path)) == values
    assert first(OBJECT, path) == (values[0] if values else None)


@pytest.mark.parametrize(
    "path",
    [
        ".spec[",
        ".spec.items[x]",
        ".a[?(@.b)",
        ".a..b'",
        ".items[?(@.a>1)]",
        ".items[1:2:3:4]",
        ".items[" + "9" * 5000 + "]",
    ],
)
def test_an_invalid_path_says_where_it_is_wrong(path: str) -> None:
    with pytest.raises(BadPath, match="goes wrong at"):
        find(OBJECT, path)


@given(st.lists(st.text(alphabet="ab.[]'\"\\/é", min_size=1), min_size=1, max_size=4), st.integers())
def test_any_member_is_found_by_its_escaped_name(names: list[str], value: int) -> None:
    obj: Any = value
    for name in reversed(names):
        obj = {name: obj}
    special = ".[]'\"\\"
    path = "".join("." + "".join(f"\\{char}" if char in special else char for char in name) for name in names)
    assert list(find(obj, path)) == [value]


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_a_bad_one(text: str) -> None:
    try:
        list(find(OBJECT, text))
    except BadPath:
        return


def test_a_slice_that_takes_no_steps_is_refused() -> None:
    with pytest.raises(BadPath, match="takes no steps"):
        find(OBJECT, ".spec.items[::0]")
