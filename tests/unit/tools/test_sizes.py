"""Every module fits in a head, and every class has one duty, or says why it has many methods."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(path for room in ("propeller", "loadtest") for path in (ROOT / room).rglob("*.py"))
MAX_LINES = 400
MAX_METHODS = 15
REASON = f"More than {MAX_METHODS} methods: "
"""Begins the sentence with which a class's docstring says why it is no smaller."""


def classes(source: str) -> Iterator[tuple[str, int, bool]]:
    """The name of each class of a module, the number of its methods, and whether it gives a reason for them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
            yield node.name, len(methods), REASON in " ".join((ast.get_docstring(node) or "").split())


def faults(source: str) -> list[str]:
    found = []
    if (lines := len(source.splitlines())) > MAX_LINES:
        found.append(f"{lines} lines: split it by purpose")
    for name, methods, reason in classes(source):
        if methods > MAX_METHODS and not reason:
            found.append(f"{name} has {methods} methods: split it, or say in its docstring: {REASON}...")
        if methods <= MAX_METHODS and reason:
            found.append(f"{name} gives a reason for more methods than it has: {methods}")
    return found


def test_there_are_modules() -> None:
    assert len(MODULES) > 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_400_lines_and_its_classes_15_methods_or_a_reason(path: Path) -> None:
    assert faults(path.read_text()) == []


def test_larger_modules_and_classes_are_found() -> None:
    methods = "".join(f"    def m{number}(self): ...\n" for number in range(16))
    assert faults(f"class C:\n{methods}") == [f"C has 16 methods: split it, or say in its docstring: {REASON}..."]
    assert (
        faults(
            f'class C:\n    """What it does.\n\n    More than 15\n    methods: they are callbacks.\n    """\n{methods}'
        )
        == []
    )
    assert faults(f'class C:\n    """{REASON}none."""\n') == ["C gives a reason for more methods than it has: 0"]
    assert faults("\n" * 401) == ["401 lines: split it by purpose"]
