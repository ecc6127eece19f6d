"""docs/deployment.md and docs/flyte-chart.md name values, settings and commands that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from propeller.cli.__main__ import cli
from propeller.config import Settings
from propeller.controller import workflow_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, connect
from propeller.testing import KubeApiserver
from tests.deploy.helm import CHART, MINIMAL, ROOT, Refused, helm, only, render

DEPLOYMENT = ROOT / "docs" / "deployment.md"
FLYTE = ROOT / "docs" / "flyte-chart.md"

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)#]+)")
VALUE = re.compile(r"[a-zA-Z]+(\.[a-zA-Z_0-9]+)*")

TOP = frozenset(yaml.safe_load((CHART / "values.yaml").read_text()))


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from (text for kind, text in FENCE.findall(page.read_text()) if kind == language)


def commands(page: Path) -> list[list[str]]:
    return [shlex.split(line) for text in blocks(page, "sh") for line in text.splitlines() if line]


def named_values(page: Path, columns: slice) -> set[str]:
    """The values of the chart that these columns of the page's tables name."""
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    found = {
        code.partition(":")[0].partition("=")[0] for row in rows for cell in row[columns] for code in CODE.findall(cell)
    }
    return {name for name in found if VALUE.fullmatch(name) and name.partition(".")[0] in TOP}


def is_value(name: str) -> bool:
    """Whether it is a value of the chart, or a setting below `config`."""
    top, *path = name.split(".")
    if top == "config" and path:
        settings: Any = Settings()
        for part in path:
            if part not in getattr(settings, "__struct_fields__", ()):
                return False
            settings = getattr(settings, part)
        return True
    values: Any = yaml.safe_load((CHART / "values.yaml").read_text())
    for part in (top, *path):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def code(page: Path) -> list[str]:
    """What stands in backticks, outside of blocks."""
    return CODE.findall(FENCE.sub("", page.read_text()))


@pytest.mark.parametrize(
    ("page", "columns"), [(DEPLOYMENT, slice(1, 4)), (FLYTE, slice(1, 3))], ids=["deployment", "flyte"]
)
def test_the_values_that_a_page_names_are_the_charts(page: Path, columns: slice) -> None:
    found = named_values(page, columns)
    assert len(found) > 20
    assert {name for name in found if not is_value(name)} == set()


def test_the_pages_lead_to_pages_and_files_that_there_are() -> None:
    for page in (DEPLOYMENT, FLYTE):
        text = page.read_text()
        assert [link for link in LINK.findall(text) if "://" not in link and not (page.parent / link).exists()] == []
        named = [word for word in code(page) if word.startswith(("deploy/", "tests/")) and " " not in word]
        assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.needs("helm")
def test_the_helm_commands_of_the_page_are_right(tmp_path: Path) -> None:
    (values,) = blocks(DEPLOYMENT, "yaml")
    (tmp_path / "values.yaml").write_text(values)
    seen = set()
    for verb, *words in (words for name, *words in commands(DEPLOYMENT) if name == "helm"):
        seen.add(verb)
        if verb in {"install", "upgrade"}:
            paths = {"values.yaml": str(tmp_path / "values.yaml"), "deploy/helm/propeller": str(CHART)}
            said = helm("template", *(paths.get(word, word) for word in words if word != "--create-namespace"))
            assert "kind: ServiceAccount" in said
        else:
            helm(verb, *words, "--help")
    assert seen == {"install", "upgrade", "uninstall"}


@pytest.mark.needs("helm")
def test_the_example_of_the_page_runs_its_image(tmp_path: Path) -> None:
    (values,) = blocks(DEPLOYMENT, "yaml")
    (tmp_path / "values.yaml").write_text(values)
    (container,) = only(render(tmp_path / "values.yaml"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.org/propeller:0.1.0"


def test_the_propeller_commands_of_the_pages_exist() -> None:
    named = {text for page in (DEPLOYMENT, FLYTE) for text in code(page) if text.startswith("propeller ")}
    assert len(named) > 4
    for text in named:
        words = [word for word in text.split()[1:] if not word.isupper() and word not in {"-n", "--config", "--image"}]
        done = CliRunner().invoke(cli, [*words, "--help"])
        assert done.exit_code == 0, (text, done.output)


@pytest.mark.needs("helm", "kube-apiserver")
async def test_a_type_that_is_not_the_releases_stops_it_with_the_message_of_the_page(
    kube_apiserver: KubeApiserver, tmp_path: Path
) -> None:
    async with connect(kube_apiserver.connection()) as client:
        names = {one["metadata"]["name"] for one in (await client.list(CUSTOM_RESOURCE_DEFINITIONS)).items}
        if workflow_crd()["metadata"]["name"] not in names:
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    kubeconfig = kube_apiserver.kubeconfig(tmp_path / "kubeconfig")
    release = ("install", "propeller", CHART, "--namespace", "default", "--values", MINIMAL)
    words = (*release, "--dry-run=server", "--kubeconfig", kubeconfig)
    with pytest.raises(Refused, match="invalid ownership metadata"):
        helm(*words)
    others = ("--set", "crds.fairQueues=false", "--set", "crds.routingTables=false")  # which other tests may have left
    with pytest.raises(Refused, match="flyteworkflows"):
        helm(*words, *others)
    helm(*words, *others, "--set", "crds.flyteWorkflows=false")
