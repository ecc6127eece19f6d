"""The API reference: every public name, from the source alone."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_doc", ROOT / "tools" / "api_doc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(tool: ModuleType) -> dict[str, str]:
    found: dict[str, str] = tool.pages()
    return found


def test_every_public_name_has_a_section_on_its_packages_page(tool: ModuleType, pages: dict[str, str]) -> None:
    for package in tool.PACKAGES:
        exported = importlib.import_module(f"propeller.{package}").__all__
        headings = [line.removeprefix("## ") for line in pages[f"{package}.md"].splitlines() if line.startswith("## ")]
        assert sorted(headings) == sorted(exported)


def test_the_index_links_to_every_page(pages: dict[str, str]) -> None:
    assert all(f"]({name})" in pages["README.md"] for name in pages if name != "README.md")


def test_no_page_knows_the_machine_that_made_it(pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    assert str(ROOT) not in text
    assert " object at 0x" not in text


def test_blocks_of_code_are_closed(pages: dict[str, str]) -> None:
    assert all(page.count("```") % 2 == 0 for page in pages.values())


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            "def f(a, /, b: int = 3, *c: str, d=None, **e) -> None: ...",
            "def f(a, /, b: int = 3, *c: str, d=None, **e) -> None",
        ),
        ("async def f(*, d: float = SECOND): ...", "async def f(*, d: float = SECOND)"),
    ],
)
def test_a_signature_is_shown_as_it_was_written(tool: ModuleType, source: str, shown: str) -> None:
    assert tool.signature(tool.ast.parse(source).body[0]) == shown


def test_a_method_is_shown_as_it_is_called(tool: ModuleType) -> None:
    source = "class C:\n    def f(self, a): ...\n    @property\n    def g(self) -> int: ...\n    def _h(self): ...\n"
    parts = "\n".join(tool.class_parts(tool.ast.parse(source).body[0]))
    assert "def f(a)" in parts
    assert "g: int" in parts
    assert "_h" not in parts


def test_a_context_manager_is_shown_as_one(tool: ModuleType) -> None:
    source = "@functools.cache\n@contextlib.contextmanager\ndef f() -> Iterator[int]: ...\n"
    parts = tool.described(tool.Public("f", "module", tool.ast.parse(source).body[0], None))
    assert "```python\n@contextlib.contextmanager\ndef f() -> Iterator[int]\n```" in parts


def test_an_overloaded_function_is_shown_by_its_implementation(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "@overload\ndef f(a: int) -> int: ...\n@typing.overload\ndef f(a: str) -> str: ...\ndef f(a): ...\n"
    )
    monkeypatch.setattr(tool, "source_of", lambda module: path)
    assert tool.signature(tool.find("module", "f").definition) == "def f(a)"


def test_the_promises_of_a_docstring_get_headings(tool: ModuleType) -> None:
    text = "What it is.\n\nGuarantees\n    It holds.\n    Always.\nErrors\n    None."
    assert tool.prose(text) == "What it is.\n\n**Guarantees**\n\nIt holds.\nAlways.\n\n**Errors**\n\nNone."


def test_a_page_that_changed_is_missing_or_nobodys_is_stale(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    (tmp_path / "a.md").write_text("old")
    (tmp_path / "gone.md").write_text("nobody's")
    (tmp_path / "same.md").write_text("same")
    assert tool.stale({"a.md": "new", "b.md": "missing", "same.md": "same"}) == ["a.md", "b.md", "gone.md"]
