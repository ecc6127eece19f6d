"""Links to dashboards lead where the operator says, and are no way to anything else."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.config import OperatorName
from propeller.handlers.plugins.operators import OPERATORS, Shown, shown


def ray(url: Any) -> dict[str, Any]:
    return {"metadata": {"name": "e", "namespace": "ns"}, "status": {"dashboardURL": url}}


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("head:8265", "http://head:8265"),
        ("https://ray.example.com/e-n0-0/", "https://ray.example.com/e-n0-0/"),
        ("[fd00::1]:8265", "http://[fd00::1]:8265"),
    ],
)
def test_a_link_is_the_address_of_the_status(url: str, uri: str) -> None:
    assert shown("ray", ray(url)).links == (("Ray dashboard", uri),)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        7,
        {},
        "javascript:alert(1)//",
        "ftp://x/",
        "http://me:hunter2@x/",
        "x\x1b[2J",
        "x y",
        "x" * 3000,
        "//x/",
    ],
)
def test_what_is_no_address_of_a_web_server_is_no_link(url: Any) -> None:
    assert shown("ray", ray(url)) == Shown()


@pytest.mark.parametrize("task_type", OPERATORS)
@pytest.mark.parametrize(
    "obj", [{}, {"status": None}, {"status": []}, {"status": {"driverInfo": "x", "clusterName": 1}}]
)
def test_a_status_of_another_form_shows_nothing(task_type: OperatorName, obj: dict[str, Any]) -> None:
    assert shown(task_type, obj).links == ()


def test_values_of_templates_are_names() -> None:
    status = {"rayClusterName": "c\n", "jobId": "j-1"}
    assert shown("ray", {"status": status}).values == {"rayJobID": "j-1"}
