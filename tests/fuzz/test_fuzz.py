"""A few hundred damaged resources, statuses, annotations and blobs; `python -m tests.fuzz --count 2000` sends more."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.testing import run_kube_apiserver
from tests.fuzz.campaign import prepared
from tests.fuzz.damage import Damage
from tests.fuzz.kinds import KINDS
from tests.fuzz.verdicts import Verdict, is_clear, judge

COUNT = 100
SEED = 11
HELD_SECONDS = 0.2
"""Of the loop's own CPU, between two looks: what a busy machine does not change."""

BAD = frozenset({Verdict.UNCLEAR, Verdict.SILENT, Verdict.STUCK})


@pytest.mark.needs("kube-apiserver")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_strangers_damage_runs_waits_or_fails_by_name_and_holds_up_nobody(kind: str, tmp_path: Path) -> None:
    with run_kube_apiserver(tmp_path) as server:  # of its own: it gets rid of whole namespaces' objects
        async with prepared(server, tmp_path, SEED) as campaign:
            outcome = await KINDS[kind](campaign, COUNT, lambda line: None)
    assert outcome.problems == []
    assert [finding for finding in outcome.findings if finding.verdict in BAD] == []
    assert outcome.counts.total() == COUNT
    assert outcome.counts[Verdict.RAN] > 0
    assert outcome.cpu < HELD_SECONDS


DAMAGE = Damage(("spec", "nodes", "n0", "task"), "5", "number")


@pytest.mark.parametrize(
    ("message", "clear"),
    [
        ("spec.nodes.n0.task is a number, and must be text", True),
        ("node n0: its task is not among the tasks", True),
        ("the resource is malformed: Expected `str`, got `int` - at `$.spec.nodes[...].task`", False),
        ("n0: AttributeError: 'int' object has no attribute 'x'", False),
        ("something went wrong", False),
        ("task \x1b[2J", False),
        ("", False),
    ],
)
def test_a_message_is_clear_if_it_names_the_member_in_words_that_are_no_programs(message: str, *, clear: bool) -> None:
    assert is_clear(message, [DAMAGE]) is clear


def test_silence_is_told_from_waiting() -> None:
    assert judge("w", [DAMAGE], {}).verdict is Verdict.SILENT
    assert judge("w", [DAMAGE], {"phase": 1}).verdict is Verdict.STUCK
    assert judge("w", [DAMAGE], {"phase": 1}, waits="quota").verdict is Verdict.WAITS
    assert judge("w", [DAMAGE], {"phase": 3}).verdict is Verdict.RAN
