"""Metrics of executions, nodes and attempts, whose labels have few values."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import propeller
from propeller import errors
from propeller.telemetry import Metrics
from propeller.telemetry._executions import REASONS, reason_of
from tests.unit.telemetry.test_metrics import samples

PACKAGE = Path(propeller.__file__).parent


def test_ends_are_counted_by_phase_and_by_what_failed_them() -> None:
    metrics = Metrics()
    metrics.executions.ended("succeeded", "", "", 3.0)
    metrics.executions.ended("failed", "USER", "OOMKilled", 40.0)
    metrics.executions.ended("failed", "USER", "OOMKilled", 40.0)
    # labels in the order of their names: error_kind, phase, reason
    assert samples(metrics, "propeller_executions_ended_total") == {
        ("", "succeeded", ""): 1,
        ("USER", "failed", "OOMKilled"): 2,
    }
    assert samples(metrics, "propeller_execution_seconds_sum") == {("succeeded",): 3, ("failed",): 80}


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("OOMKilled", "OOMKilled"),
        ("ContainersNotReady|ImagePullBackOff", "ImagePullBackOff"),
        ("USER:what the task says", "Other"),
        ('x",evil="1', "Other"),
        ("a|b|c" * 1000, "Other"),
        ("", "Other"),
    ],
)
def test_a_code_that_is_not_known_is_no_label(code: str, label: str) -> None:
    assert reason_of(code) == label


def test_however_many_codes_tasks_make_up_a_scrape_stays_small() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.executions.attempt_failed("USER", f"code {number}", retried=number % 2 == 0)
        metrics.executions.ended("failed", "USER", f"code {number}", 1.0)
    assert len(samples(metrics, "propeller_attempts_failed_total")) == 2
    assert len(samples(metrics, "propeller_executions_ended_total")) == 1


def test_codes_of_the_package_itself_are_labels() -> None:
    written = {code for path in PACKAGE.rglob("*.py") if "embedded" not in path.parts for code in _codes(path)}
    assert "FailedToBuildResource" in written, "the search finds what it is for"
    assert written - REASONS == set()


def _codes(path: Path) -> set[str]:
    """Codes of failures that are set when a Failure is created, or in a constant or mapping beside it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Failure" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def test_names_of_our_errors_are_labels() -> None:
    assert reason_of(errors.WebhookUnavailable.__name__) == "WebhookUnavailable"
    assert reason_of("ErrorKind") == "Other", "it is no error"


def test_a_status_that_is_written_is_counted_with_its_size_and_time() -> None:
    metrics = Metrics()
    metrics.executions.written(0.02, 5000)
    metrics.executions.not_written()
    assert samples(metrics, "propeller_checkpoints_total") == {("ok",): 1, ("error",): 1}
    assert samples(metrics, "propeller_checkpoint_bytes_sum") == {(): 5000}
    assert samples(metrics, "propeller_checkpoint_seconds_count") == {(): 1}


def test_requests_are_counted_by_verb_and_code_and_a_code_that_is_none_is_not_a_label() -> None:
    metrics = Metrics()
    metrics.watch_requests({("get", 200): 3, ("create", "none"): 1, ("get", 999): 2})
    assert samples(metrics, "propeller_requests_total") == {
        ("200", "get"): 3,
        ("none", "create"): 1,
        ("other", "get"): 2,
    }
