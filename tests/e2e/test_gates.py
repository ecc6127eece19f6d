"""Gates as people answer them: `propeller run`, `signal`, `approve` and `status` on the embedded cluster."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.e2e.conftest import EXAMPLES, Propeller

pytestmark = pytest.mark.needs("embedded", "flytekit")

REVIEW = EXAMPLES / "review.py"


class Answers:
    """A run that waits, read line by line, and its answers by the commands that it shows."""

    def __init__(self, propeller: Propeller, process: Popen[str]) -> None:
        self._propeller = propeller
        self._process = process
        self.kubeconfig = self.until(r"export KUBECONFIG=(\S+)")[1]

    def until(self, pattern: str) -> re.Match[str]:
        """The first line from now on that has the pattern."""
        assert self._process.stderr is not None
        seen = []
        for line in self._process.stderr:
            seen.append(line)
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"{pattern} is not in:\n{''.join(seen)}")

    def command(self, verb: str) -> list[str]:
        """The next command that the run shows for an answer."""
        return self.until(rf"propeller ({verb} .+? -n [\w-]+)")[1].split()

    def give(self, words: list[str], *more: str) -> str:
        ended = self._propeller(*(more[0] if word == "VALUE" else word for word in words), KUBECONFIG=self.kubeconfig)
        return ended.out if not ended.code else f"{ended.code}: {ended.err}"

    def give_once_stored(self, words: list[str]) -> str:
        """As `give`, when the execution has a status: the run shows its own state, which is ahead of that."""
        while "yet: see its nodes with" in (answer := self.give(words)):
            time.sleep(0.2)
        return answer

    def ended(self) -> tuple[int, str]:
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out or err


@contextmanager
def waiting(propeller: Propeller, *words: str | Path) -> Iterator[Answers]:
    process = propeller.start("run", *words, "--python", sys.executable)
    try:
        yield Answers(propeller, process)
    finally:
        process.terminate()
        process.communicate()


def test_the_example_takes_its_answers_by_the_commands_that_it_shows(propeller: Propeller) -> None:
    with waiting(propeller, REVIEW, "review", "--words", "7") as run:
        title = run.command("signal")
        inputs = run.give_once_stored(["get", title[1], "n3", "inputs", *title[-2:]])
        assert inputs == "null\n", "n2 makes them, later"
        assert "(title) of" in run.give(title, "About gates")
        approval = run.command("approve")
        assert run.give(approval).startswith("n3 (publish)")
        code, out = run.ended()
        assert code == 0
        assert "published 'About gates: a report of 7 words'" in out
    assert not Path(run.kubeconfig).exists()


def test_a_rejection_fails_the_run_as_the_users_decision(propeller: Propeller) -> None:
    with waiting(propeller, REVIEW, "review") as run:
        run.give(run.command("signal"), "t")
        assert "has been rejected" in run.give([*run.command("approve"), "--reject"])
        code, err = run.ended()
        assert code == 1
        assert "received a reject signal" in err


def test_answers_that_no_gate_takes_are_refused_with_the_reason_and_change_nothing(
    propeller: Propeller, flow: Callable[[str], Path]
) -> None:
    file = flow(
        "from datetime import timedelta\n"
        "@task\ndef inc(a: int) -> int:\n    return a + 1\n"
        "@workflow\ndef wf() -> int:\n"
        "    a = wait_for_input('number', timeout=timedelta(hours=1), expected_type=int)\n"
        "    b = wait_for_input('late', timeout=timedelta(hours=1), expected_type=typing.List[int])\n"
        "    c = inc(a=a)\n    b >> c\n    return c\n"
    )
    with waiting(propeller, file, "wf") as run:
        words = run.command("signal")
        _, name, node, _, *where = words
        refusals = {
            ("signal", name, node, "many", *where): f"2: error: {node} waits for a value of type integer: expected a",
            ("signal", name, "nowhere", "1", *where): "has no gate 'nowhere' that has begun or is about to; it has n0",
            ("signal", name, "n2", "1", *where): "n2 is a task node, not a gate",
            ("approve", name, node, *where): f"propeller signal {name} {node} VALUE",
            ("signal", "nobody", node, "1", *where): "there is no execution nobody",
        }
        for refused, says in refusals.items():
            assert says in run.give(list(refused))
        assert "[1, 2]" not in run.give(["signal", name, "late", "[1, 2]", *where])
        assert "has been answered" in run.give(["signal", name, "number", "-5", *where, "--output", "text"])
        code, out = run.ended()
        assert (code, out.split()) == (0, ['{"o0":-4}'])


def test_gates_of_executions_that_launch_plans_start_are_answered_too_also_where_no_progress_is_shown(
    propeller: Propeller, flow: Callable[[str], Path]
) -> None:
    file = flow(
        "from datetime import timedelta\n"
        "@workflow\ndef child() -> int:\n"
        "    return wait_for_input('number', timeout=timedelta(hours=1), expected_type=int)\n"
        "plan = LaunchPlan.get_or_create(child, 'plan')\n"
        "@task\ndef inc(a: int) -> int:\n    return a + 1\n"
        "@workflow\ndef wf() -> int:\n    return inc(a=plan())\n"
    )
    with waiting(propeller, file, "wf", "--output", "json") as run:
        assert "has been answered" in run.give(run.command("signal"), "4")
        assert run.ended() == (0, '{"o0":5}\n')


def test_an_answer_whose_fields_do_not_fit_the_dataclass_is_refused_with_the_field(
    propeller: Propeller, flow: Callable[[str], Path]
) -> None:
    file = flow(
        "from dataclasses import dataclass\n"
        "from datetime import timedelta\n"
        "@dataclass\nclass Limits:\n    rows: int\n    words: typing.Optional[typing.List[str]] = None\n"
        "@dataclass\nclass Config:\n    limits: Limits\n    by_name: typing.Dict[str, Limits]\n    ratio: float = 0.5\n"
        "@task\ndef shown(configs: typing.List[Config]) -> str:\n    return repr(configs)\n"
        "@workflow\ndef wf() -> str:\n"
        "    return shown(configs=wait_for_input('configs', timedelta(hours=1), typing.List[Config]))\n"
    )
    refusals = {
        '[{"limits": {"rows": "many"}, "by_name": {}}]': "field 'limits.rows': expected a whole number, found 'many'",
        '[{"limits": {"rows": 1}}]': "field 'by_name' is missing: expected a JSON object",
        '[{"limits": {"rows": 1, "wrods": []}, "by_name": {}}]': "no field 'limits.wrods': expected rows, words",
        '[{"limits": {"rows": 1}, "by_name": {"a": {"rows": 1, "words": [2]}}}]': "'by_name.a.words[0]': expected text",
    }
    with waiting(propeller, file, "wf", "--output", "json") as run:
        words = run.command("signal")
        for value, says in refusals.items():
            refused = run.give(words, value)
            assert refused.startswith("2: error: n0 waits for a value of type list of struct")
            assert says in refused
        value = '[{"limits": {"rows": 1, "words": ["a"]}, "by_name": {"a": {"rows": 2}}, "ratio": 1}]'
        assert "has been answered" in run.give(words, value)
        code, out = run.ended()
        assert code == 0
        shown = "Config(limits=Limits(rows=1, words=['a']), by_name={'a': Limits(rows=2, words=None)}, ratio=1.0)"
        assert shown in out
