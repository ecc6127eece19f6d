"""Pages lead to pages and sections that there are; commands, options, settings and metrics that they name exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from propeller.cli.__main__ import cli
from propeller.cli._inputs import TakesInputs
from propeller.config import Settings

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
OF_THE_CHART = {DOCS / "deployment.md", DOCS / "flyte-chart.md"}
"""Which name values of charts, too: tests/deploy/test_deployment_docs.py."""
NO_METRICS = {"propeller_cache", "propeller_cache_schema"}
"""Tables of the database that keeps the cache."""

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)+)(?:[:=] ?\S.*)?")
METRIC = re.compile(r"(propeller_[a-z_]+)(?:\{.*\})?")
OPTION = re.compile(r"--?[a-z][a-z-]*")
SHELLS = {"|", "&", "&&", ">", ";", "||"}
SECTIONS = frozenset(Settings.__struct_fields__)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Without what stands in blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = sum(1 for one in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one))
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each link into the repository: as it stands, the file that it leads to, and the section there."""
    for link in LINK.findall(prose(page)):
        path, _, section = link.partition("#")
        if "://" not in link and not link.startswith("mailto:"):
            yield link, (page.parent / path).resolve() if path else page, section


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_link_of_a_page_leads_to_a_page_and_section_that_there_is(page: Path) -> None:
    found = list(links(page))
    assert [link for link, target, _ in found if not target.exists()] == []
    sections = [(link, target, section) for link, target, section in found if section and target.suffix == ".md"]
    assert [link for link, target, section in sections if section not in anchors(target)] == []


def test_each_page_is_linked_from_another_one() -> None:
    linked = {target for page in PAGES for _, target, _ in links(page) if target != page}
    listed = {path for target in linked if target.is_dir() for path in target.rglob("*.md")}
    assert [named(page) for page in PAGES if page not in linked | listed | {README}] == []


def test_readme_lists_each_page_of_docs() -> None:
    listed = {target for _, target, _ in links(README)}
    assert [named(page) for page in sorted(DOCS.glob("*.md")) if page not in listed] == []


class Call(NamedTuple):
    page: str
    words: tuple[str, ...]
    """After `propeller`."""


def calls(page: Path) -> Iterator[Call]:
    """Each `propeller ...` of the page's shell blocks and backticks."""
    blocks = [text.replace("\\\n", " ") for kind, text in FENCE.findall(page.read_text()) if kind in {"sh", ""}]
    lines = [line for text in blocks for line in text.splitlines()]
    for line in [*lines, *(code for code in CODE.findall(prose(page)) if code.startswith("propeller "))]:
        yield from calls_of(page, line)


def calls_of(page: Path, line: str) -> Iterator[Call]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a drawing, or what a program prints
        return
    for place, word in enumerate(words):
        before = words[place - 1] if place else "|"
        if word in {"propeller", ".venv/bin/propeller"} and (before in SHELLS or "=" in before):
            rest = words[place + 1 :]
            end = next((at for at, one in enumerate(rest) if one in SHELLS), len(rest))
            yield Call(named(page), tuple(rest[:end]))


CALLS = sorted({call for page in PAGES for call in calls(page) if call.words})


def command_of(words: tuple[str, ...]) -> tuple[click.Command, list[str]]:
    """The innermost command that the words name, and the words after it."""
    command: click.Command = cli
    rest = list(words)
    while rest and isinstance(command, click.Group):
        inner = command.get_command(click.Context(command), rest[0])
        if inner is None:
            break
        command, rest = inner, rest[1:]
    return command, rest


def test_the_pages_have_many_calls_of_each_kind() -> None:
    assert len(CALLS) > 100
    assert len({call.words[0] for call in CALLS}) > 15


@pytest.mark.parametrize("call", CALLS, ids=[f"{call.page}: {' '.join(call.words)}"[:90] for call in CALLS])
def test_a_command_that_a_page_calls_exists_with_its_options(call: Call) -> None:
    command, rest = command_of(call.words)
    assert not isinstance(command, click.Group) or not rest or rest[0].startswith("-"), f"{rest[0]}: no command"
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = [word.partition("=")[0] for word in rest]
    if isinstance(command, TakesInputs):  # after the name of a workflow, its inputs look like options
        given = given[:2] if rest and not rest[0].startswith("-") else given
    assert [word for word in given if OPTION.fullmatch(word) and word not in options | {"-h", "--help"}] == []


def is_setting(name: str) -> bool:
    found: Any = Settings()
    for part in name.split("."):
        if isinstance(found, dict):
            return True
        if part not in getattr(found, "__struct_fields__", ()):
            return False
        found = getattr(found, part)
    return True


def test_the_settings_that_pages_name_exist() -> None:
    found = {
        (named(page), match[1])
        for page in PAGES
        if page not in OF_THE_CHART
        for code in CODE.findall(prose(page))
        if (match := SETTING.fullmatch(code)) and match[1].partition(".")[0] in SECTIONS
    }
    assert len(found) > 100
    assert {(page, name) for page, name in found if not is_setting(name)} == set()


def test_the_metrics_that_pages_name_exist() -> None:
    there = set(METRIC.findall((DOCS / "metrics.md").read_text()))
    there |= {name.removesuffix("_total") for name in there}  # as counters are declared
    found = {
        (named(page), match[1])
        for page in PAGES
        for code in CODE.findall(prose(page))
        if (match := METRIC.fullmatch(code)) and match[1] not in NO_METRICS
    }
    assert len(found) > 20
    assert {(page, name) for page, name in found if name not in there} == set()
