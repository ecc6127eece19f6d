"""What README tells newcomers to type does what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Propeller

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.needs("embedded", "flytekit")
def test_the_first_workflow_prints_what_readme_says(propeller: Propeller) -> None:
    blocks = dict(re.findall(r"```(python|sh)\n((?:(?!```).)*(?:flow\.py)(?:(?!```).)*)```", README, re.DOTALL))
    (propeller.home / "flow.py").write_text(blocks["python"])
    command = blocks["sh"].split()
    assert command[:2] == ["propeller", "run"]
    printed = re.search(r"prints `(\{.*?\})`", README)
    assert printed is not None
    assert propeller.run(*command[2:]).json == json.loads(printed[1])


def test_every_make_target_that_readme_names_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test", "help"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_every_page_that_readme_names_exists() -> None:
    root = Path(__file__).parents[2]
    assert [
        page for page in re.findall(r"\]\(([^)]+)\)", README) if "://" not in page and not (root / page).exists()
    ] == []
