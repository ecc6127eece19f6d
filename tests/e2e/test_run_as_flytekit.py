"""What flytekit does with a file on a laptop, `propeller run` does too."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Propeller

Flow = Callable[[str], Path]

pytestmark = pytest.mark.needs("embedded", "flytekit")

INC = "@task\ndef inc(a: int) -> int:\n    return a + 1\n"


def outputs(propeller: Propeller, *words: str | Path, **env: str) -> Any:
    return propeller.run(*words, "--output", "json", **env).json


def test_tasks_that_run_at_once_have_a_directory_each_and_leave_nothing_in_the_project(
    propeller: Propeller, flow: Flow
) -> None:
    text = (
        "import time\n@task\ndef through(n: int) -> str:\n"
        "    before = open('known.txt').read() + open('data/known.txt').read()\n"
        "    for name in ('new.txt', 'known.txt', 'data/known.txt'):\n        open(name, 'w').write(str(n))\n"
        "    time.sleep(0.5)\n"
        "    return before + ''.join(open(name).read() for name in ('new.txt', 'known.txt', 'data/known.txt'))\n"
        "@workflow\ndef wf(ns: typing.List[int] = [1, 2, 3]) -> typing.List[str]:\n    return map_task(through)(n=ns)\n"
    )
    file = flow(text)
    (file.parent / "data").mkdir()
    known = (file.parent / "known.txt", file.parent / "data" / "known.txt")
    for path in known:
        path.write_text("k")
    assert outputs(propeller, file, "wf") == {"o0": ["kk111", "kk222", "kk333"]}
    assert [path.read_text() for path in known] == ["k", "k"]
    assert not list(file.parent.rglob("new.txt"))


def test_modules_of_the_project_are_found_before_installed_ones_of_the_same_name(propeller: Propeller) -> None:
    project = propeller.home / "project"
    (project / "tests").mkdir(parents=True)
    (project / "tests" / "__init__.py").touch()
    (project / "tests" / "numbers_of_ours.py").write_text("TEN = 10\n")
    (project / "publish.py").write_text("def twice(a):\n    return 2 * a\n")
    (project / "statistics.py").write_text(
        "from flytekit import task, workflow\nimport publish\nfrom tests.numbers_of_ours import TEN\n"
        "@task\ndef t(a: int) -> int:\n    return publish.twice(a) + TEN\n"
        "@workflow\ndef wf(a: int = 1) -> int:\n    return t(a=a)\n"
    )
    assert outputs(propeller, project / "statistics.py", "wf") == {"o0": 12}


def test_a_file_whose_name_flytekit_itself_imports_is_refused_by_name(propeller: Propeller) -> None:
    file = propeller.home / "click.py"
    file.write_text(f"from flytekit import task\n{INC}")
    ended = propeller.run(file, "inc")
    assert ended.code == 2
    assert "flytekit itself uses a module named 'click'" in ended.err


def test_an_echo_task_gives_its_input_back_without_a_pod(propeller: Propeller, flow: Flow) -> None:
    text = (
        "from flytekit.core.task import Echo\nsame = Echo(name='same', inputs={'x': int})\n"
        f"{INC}@workflow\ndef wf(x: int = 3) -> int:\n    return inc(a=same(x=x))\n"
    )
    assert outputs(propeller, flow(text), "wf") == {"o0": 4}


def test_no_image_is_looked_up_or_built_for_a_run_here(propeller: Propeller, flow: Flow) -> None:
    text = (
        "spec = ImageSpec(name='s', requirements='there-is-no-such-file.txt', registry='localhost:30000')\n"
        "@task(container_image='{{.image.trainer.fqn}}:{{.image.trainer.version}}')\n"
        "def named(a: int) -> int:\n    return a + 1\n"
        "@task(container_image=spec)\ndef built(a: int) -> int:\n    return a * 2\n"
        "@dynamic\ndef inside(a: int) -> int:\n    return built(a=named(a=a))\n"
        "@workflow\ndef wf(a: int = 1) -> int:\n    return built(a=inside(a=a))\n"
    )
    assert outputs(propeller, flow(text), "wf") == {"o0": 8}


def test_an_image_by_name_is_given_to_compile_by_that_name(propeller: Propeller, flow: Flow) -> None:
    file = flow(f"@task(container_image='{{{{.image.trainer}}}}')\n{INC.removeprefix('@task')[1:]}")
    known = propeller("compile", file, "inc", "--a", "1", "--image", "trainer=ghcr.io/me/trainer:v1")
    assert [task["container"]["image"] for task in known.json["tasks"].values()] == ["ghcr.io/me/trainer:v1"]
    assert propeller("compile", file).code == 0, "nothing is pulled"
    assert "Image Config with name trainer not found" in propeller("compile", file, "inc", "--a", "1").err


def test_tasks_have_the_shells_environment_and_its_secrets(propeller: Propeller, flow: Flow) -> None:
    text = (
        "@task(secret_requests=[Secret(group='shop', key='token'), Secret(group='shop', key='key')])\n"
        "def t() -> str:\n    secrets = current_context().secrets\n"
        "    return os.environ['OF_THE_SHELL'] + secrets.get('shop', 'token') + secrets.get('shop', 'key')\n"
    )
    env = {"OF_THE_SHELL": "a", "SHOP_TOKEN": "b", "_FSEC_SHOP_KEY": "c"}
    assert outputs(propeller, flow(text), "t", **env) == {"o0": "abc"}


def test_a_task_by_itself_has_the_defaults_of_its_function(propeller: Propeller, flow: Flow) -> None:
    text = (
        "import datetime\n@task\ndef greet(name: str = 'ann', n: int = 2,"
        " when: typing.Optional[datetime.datetime] = None) -> str:\n    return f'{name} {n} {when}'\n"
        "@dynamic\ndef many(n: int = 2) -> typing.List[str]:\n    return [greet(name=str(i)) for i in range(n)]\n"
    )
    file = flow(text)
    assert outputs(propeller, file, "greet", "--name", "--bob") == {"o0": "--bob 2 None"}
    assert outputs(propeller, file, "many") == {"o0": ["0 2 None", "1 2 None"]}


def test_an_eager_task_runs_what_it_calls(propeller: Propeller, flow: Flow) -> None:
    text = (
        f"{INC}@task\nasync def twice(a: int) -> int:\n    return 2 * a\n"
        "@eager\nasync def chain(a: int = 3) -> int:\n    return await twice(a=inc(a=a))\n"
    )
    assert outputs(propeller, flow(text), "chain") == {"o0": 8}


def test_an_eager_task_runs_workflows_dynamic_and_other_eager_tasks(propeller: Propeller, flow: Flow) -> None:
    text = (
        f"{INC}@workflow\ndef plus_two(a: int) -> int:\n    return inc(a=inc(a=a))\n"
        "@dynamic\ndef plus_three(a: int) -> int:\n    return inc(a=plus_two(a=a))\n"
        "@eager\nasync def inner(a: int) -> int:\n"
        "    if a > 100:\n        raise ValueError(f'{a} is too large')\n    return inc(a=a)\n"
        "@eager\nasync def outer(a: int = 1) -> typing.List[int]:\n"
        "    import asyncio\n"
        "    both = await asyncio.gather(inner(a=a), inner(a=a + 10))\n"
        "    return [*both, plus_two(a=a), plus_three(a=a)]\n"
    )
    file = flow(text)
    assert outputs(propeller, file, "outer") == {"o0": [2, 12, 3, 4]}
    failed = propeller.run(file, "outer", "--a", "200", "--output", "json")
    assert failed.code == 1
    error = json.loads(failed.out)["error"]
    assert error["kind"] == "USER"
    assert "is too large" in error["message"]


def test_dates_times_with_zones_and_durations_are_inputs(propeller: Propeller, flow: Flow) -> None:
    text = (
        "from datetime import date, datetime, timedelta\n"
        "@task\ndef t(day: date, maybe: typing.Optional[date], at: datetime, days: typing.List[date],"
        " long: timedelta) -> str:\n    return ' '.join(map(str, (day, maybe, at, days[0], long)))\n"
        "@workflow\ndef wf(day: date, at: datetime, days: typing.List[date], long: timedelta,"
        " maybe: typing.Optional[date] = None) -> str:\n"
        "    return t(day=day, maybe=maybe, at=at, days=days, long=long)\n"
    )
    words = ("--day", "2024-02-29", "--at", "2024-02-29T12:00:00+02:00", "--days", '["2024-01-01"]', "--long", "PT90M")
    expected = "2024-02-29 2024-02-28 2024-02-29 10:00:00+00:00 2024-01-01 1:30:00"
    assert outputs(propeller, flow(text), "wf", *words, "--maybe", "2024-02-28") == {"o0": expected}


def test_inputs_of_several_megabytes_do_not_have_to_fit_into_the_resource(propeller: Propeller, flow: Flow) -> None:
    file = flow("@task\ndef t(xs: typing.List[str]) -> int:\n    return sum(map(len, xs))\n")
    (file.parent / "xs.json").write_text(json.dumps(["x" * 1000] * 4000))
    assert outputs(propeller, file, "t", "--xs", file.parent / "xs.json") == {"o0": 4_000_000}


def test_an_input_named_like_an_option_is_given_behind_two_dashes(propeller: Propeller, flow: Flow) -> None:
    file = flow("@task\ndef both(config: str, output: str) -> str:\n    return config + output\n")
    ended = propeller.run(file, "both", "--config", "x", "--output", "y")
    assert ended.code == 2
    assert "--config and --output are options of propeller as well" in ended.err
    assert "`-- --config x --output y` gives them to the workflow" in " ".join(ended.err.split())
    assert propeller("run", "--output", "json", file, "both", "--", "--config", "x", "--output", "y").json == {
        "o0": "xy"
    }


def test_what_tasks_print_is_shown_by_task_and_on_no_standard_output(propeller: Propeller, flow: Flow) -> None:
    text = (
        "@task\ndef hello(n: int) -> int:\n    print('hello', n)\n    sys.stderr.write('no end')\n    return n\n"
        "@workflow\ndef wf() -> typing.List[int]:\n    return map_task(hello)(n=[1, 2])\n"
    )
    ended = propeller.run(flow(text), "wf")
    assert [f"hello[{n}] │ {said}" for n in (0, 1) for said in (f"hello {n + 1}", "no end")] == sorted(
        line for line in ended.err.splitlines() if "│" in line
    )
    assert json.loads(ended.out) == {"o0": [1, 2]}
    quiet = propeller.run(flow(text), "wf", "--quiet")
    assert (quiet.err, json.loads(quiet.out)) == ("", {"o0": [1, 2]})


def test_a_launch_plan_of_the_file_runs_as_an_execution_with_its_defaults(propeller: Propeller, flow: Flow) -> None:
    text = (
        f"{INC}@workflow\ndef child(a: int, b: int) -> int:\n    return inc(a=inc(a=a))\n"
        "plan = LaunchPlan.get_or_create(child, 'my_plan', default_inputs={'a': 3}, fixed_inputs={'b': 2})\n"
        "@workflow\ndef given(a: int) -> int:\n    return inc(a=plan(a=a))\n"
        "@workflow\ndef by_default() -> int:\n    return plan()\n"
    )
    file = flow(text)
    ended = propeller.run(file, "given", "--a", "4", "--output", "json")
    assert ended.json == {"o0": 7}
    assert "without a preloaded process" not in ended.err, "a module with such a plan is preloaded as any other"
    assert outputs(propeller, file, "by_default") == {"o0": 5}


def test_a_failure_shows_the_authors_frames_the_message_once_and_where_the_logs_are(
    propeller: Propeller, flow: Flow
) -> None:
    file = flow("@task\ndef t(x: int):\n    print('before')\n    raise ValueError(f'no {x}')\n")
    ended = propeller.run(file, "t", "--x", "3")
    assert ended.code == 1
    assert ended.err.count("no 3") == 1
    assert "frames of flytekit" in ended.err
    assert "base_task.py" not in ended.err
    logs = next(line for line in ended.err.splitlines() if line.startswith("logs: cat "))
    assert Path(logs.removeprefix("logs: cat ")).read_text().strip() == "before"
    assert "base_task.py" in propeller.run(file, "t", "--x", "3", "--full-traceback").err


def test_what_cannot_run_is_refused_by_name_before_it_starts(propeller: Propeller, flow: Flow) -> None:
    file = flow(f"{INC}@eager\nasync def e(a: int = 1) -> int:\n    return inc(a=a)\n")
    assert "task flow.e is eager: on a cluster it needs FlyteAdmin" in propeller("compile", file, "e").err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["flow.py", "nope"], 2, "there is no workflow"),
        (["flow.py", "inc", "--a", "q"], 2, "input 'a' cannot be 'q'"),
        (["flow.py", "inc", "--config", "nowhere.toml"], 2, "--config nowhere.toml cannot be read"),
        (["flow.py", "inc", "--a", "1", "--storage", "file:///proc/nowhere"], 3, "/proc/nowhere"),
        ([], 2, "name a file of workflows"),
    ],
)
def test_every_end_is_json_if_json_is_asked_for(
    propeller: Propeller, flow: Flow, words: list[str], code: int, says: str
) -> None:
    flow(INC)
    ended = propeller("run", *words, "--output", "json")
    assert ended.code == code
    error = json.loads(ended.out)["error"]
    assert says in error["message"]
    assert error["kind"] == ("USER" if code == 2 else "SYSTEM")


def test_an_item_of_a_map_task_converts_its_own_input_and_not_those_of_all(propeller: Propeller, flow: Flow) -> None:
    text = (
        "import gc\nfrom flytekit.models.literals import Literal\n"
        "@task\ndef literals(row: typing.List[int]) -> int:\n"
        "    return sum(isinstance(found, Literal) for found in gc.get_objects())\n"
        "@workflow\ndef wf() -> typing.List[int]:\n    return map_task(literals)(row=[[1] * 9] * 20)\n"
    )
    for found in outputs(propeller, flow(text), "wf")["o0"]:
        assert found < 9 * 20


def test_a_file_too_large_to_copy_is_copied_when_a_task_writes_to_it(propeller: Propeller, flow: Flow) -> None:
    file = flow(
        "@task\ndef t(n: int) -> int:\n    with open('large.bin', 'ab') as f:\n        f.write(b'!' * n)\n"
        "    return os.path.getsize('large.bin')\n"
        "@workflow\ndef wf() -> typing.List[int]:\n    return map_task(t)(n=[1, 2])\n"
    )
    large = file.parent / "large.bin"
    large.write_bytes(bytes(5_000_000))
    ended = propeller.run(file, "wf", "--output", "json")
    assert ended.json == {"o0": [5_000_001, 5_000_002]}
    assert large.stat().st_size == 5_000_000
    assert "warning" not in ended.err


def test_a_file_of_the_project_that_another_program_has_changed_is_named(propeller: Propeller, flow: Flow) -> None:
    file = flow(
        "import subprocess\n@task\ndef t():\n"
        "    subprocess.run(['sh', '-c', 'echo >> data.bin; echo >> small'], check=True)\n"
    )
    (file.parent / "small").touch()
    (file.parent / "data.bin").write_bytes(bytes(5_000_000))
    ended = propeller.run(file, "t")
    assert "warning: the project was changed while tasks ran: data.bin." in ended.err
    assert (file.parent / "small").read_bytes() == b""


def test_a_module_that_makes_a_launch_plan_with_defaults_is_loaded_once_for_all_tasks(
    propeller: Propeller, flow: Flow
) -> None:
    """Regression: an interpreter was started for each task of such a module, which loaded it anew."""
    text = (
        "LOADED_BY = os.getpid()\n@task\ndef loaded(n: int) -> int:\n    return LOADED_BY\n"
        "@workflow\ndef child(n: int) -> int:\n    return loaded(n=n)\n"
        "plan = LaunchPlan.get_or_create(child, 'my_plan', default_inputs={'n': 3})\n"
        "@workflow\ndef wf() -> typing.List[int]:\n    return map_task(loaded)(n=[1, 2, 3, 4, 5, 6])\n"
    )
    assert len(set(outputs(propeller, flow(text), "wf")["o0"])) == 1


def test_small_tasks_share_a_process_but_neither_a_directory_nor_a_change(propeller: Propeller, flow: Flow) -> None:
    text = (
        "COUNT = 0\nNames = typing.List[str]\n"
        "@task\ndef clean(before: Names) -> Names:\n    new = not os.path.exists('mine')\n"
        "    open('mine', 'w').close()\n"
        "    return [*before, f'{os.getpid()} {new}']\n"
        "@task\ndef counts(before: Names) -> Names:\n    global COUNT\n    COUNT += 1\n"
        "    return [*before, f'{os.getpid()} {COUNT}']\n"
        "@workflow\ndef wf(none: Names = []) -> typing.Tuple[Names, Names]:\n"
        "    a = clean(before=clean(before=clean(before=none)))\n"
        "    return a, counts(before=counts(before=counts(before=a)))\n"
    )
    cleaned, both = outputs(propeller, flow(text), "wf").values()
    assert len(set(cleaned)) == 1
    assert cleaned[0].endswith(" True")
    counted = both[len(cleaned) :]
    assert len(set(counted)) == 3, "a change of a global is seen by no other task"
    assert all(one.endswith(" 1") for one in counted)


def test_as_many_items_of_a_map_task_have_to_succeed_as_its_author_says(propeller: Propeller, flow: Flow) -> None:
    """flytekit writes a ratio of 1.0 besides, which would count instead."""
    text = (
        "@task\ndef t(n: int):\n    assert n\n"
        "@dynamic\ndef many(n: int):\n    map_task(t, min_successes=n)(n=[0, 1, 2])\n"
        "@workflow\ndef wf(n: int):\n    map_task(t, min_successes=2)(n=[0, 1, 2])\n    many(n=n)\n"
    )
    file = flow(text)
    assert propeller.run(file, "wf", "--n", "2").code == 0
    failed = propeller.run(file, "wf", "--n", "3", "--output", "json")
    assert failed.code == 1


def test_a_dynamic_task_that_runs_again_makes_what_its_inputs_say(propeller: Propeller) -> None:
    """flytekit keeps the workflow that a dynamic task has made, for the rest of its process."""
    file = propeller.home / "again.py"
    file.write_text(
        f"from flytekit import dynamic, task, workflow\n{INC}"
        "@dynamic\ndef by_one(a: int) -> int:\n    return inc(a=a)\n"
        "@workflow\ndef wf(a: int = 1) -> int:\n    return by_one(a=by_one(a=by_one(a=a)))\n"
    )
    assert outputs(propeller, file, "wf") == {"o0": 4}


def test_amounts_of_resources_may_be_numbers(propeller: Propeller, flow: Flow) -> None:
    file = flow(
        "from flytekit import Resources\n@task(requests=Resources(cpu=1, mem='50Mi'), limits=Resources(cpu=1.5))\n"
        "def inc(a: int) -> int:\n    return a + 1\n@workflow\ndef wf(a: int = 1) -> int:\n    return inc(a=a)\n"
    )
    assert outputs(propeller, file, "wf") == {"o0": 2}
    resource = propeller("compile", file, "wf", "--python", sys.executable).json
    (task,) = resource["tasks"].values()
    assert {one["value"] for one in task["container"]["resources"]["requests"]} == {"1", "50Mi"}


def test_a_task_alone_may_name_the_partitions_of_its_artifacts_when_it_runs(
    propeller: Propeller,
) -> None:
    file = propeller.home / "artifacts.py"
    file.write_text(
        "import datetime\nfrom typing import Annotated\nfrom flytekit import Artifact, task\n"
        "Table = Artifact(name='table', partition_keys=['region'], time_partitioned=True)\n\n\n@task\n"
        "def build(n: int = 2) -> tuple[Annotated[int, 'kept', Table], Annotated[list[int], Table]]:\n"
        "    at = datetime.datetime(2020, 1, 1)\n"
        "    eu = Table.create_from(n, region='eu', time_partition=at)\n"
        "    return eu, Table.create_from([n], region='us', time_partition=at)\n"
    )
    assert outputs(propeller, file, "build") == {"o0": 2, "o1": [2]}
