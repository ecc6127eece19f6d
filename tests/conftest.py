"""What all tests share: the marker `needs`, the fixtures of real servers, how many examples hypothesis tries, and the
count of tests on each component.

A test needs the components that its `needs` markers name, and those whose fixtures it uses: a fixture that is named
like a component (`kube_apiserver`, `redis_server`) stands for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from tests import assets
from tests.examples import load_profile

load_profile()

pytest_plugins = ["propeller.testing.plugin", "tests.namespaces", "tests.vectors.count"]

_COMPONENTS = "components"  # of a report: a property, which pytest-xdist passes on


@pytest.fixture(scope="session")
def kube_apiserver_flags() -> tuple[str, ...]:
    return ("--feature-gates=ShardedListAndWatch=true",)


def components_of(item: pytest.Item) -> list[str]:
    """The components that a test needs, in the table's order."""
    needed = {str(name) for marker in item.iter_markers("needs") for name in marker.args}
    if unknown := needed - assets.COMPONENTS.keys():
        raise pytest.UsageError(f"{item.nodeid} needs {sorted(unknown)}; known are {sorted(assets.COMPONENTS)}")
    fixtures = {name.replace("_", "-") for name in getattr(item, "fixturenames", ())}
    return [name for name in assets.COMPONENTS if name in needed | fixtures]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Ran())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may have to wait for the build comes last. The order is the same in each process, whenever it collects."""
    items.sort(key=lambda item: not assets.BINARIES.isdisjoint(components_of(item)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for the build before the clock of the test's timeout starts."""
    terminal = item.config.pluginmanager.get_plugin("terminalreporter")
    for name in components_of(item):
        if name in assets.BINARIES:
            assets.wait_for(name, lambda line: terminal.write_line(line) if terminal is not None else None)
    return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in components_of(item):
        if not assets.is_here(name):
            assets.give_up(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.user_properties.append((_COMPONENTS, components_of(item)))
    return report


class _Ran:
    """Counts the tests that ran on each component, in this process or in pytest-xdist's."""

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and not report.skipped:
            self.counts.update(dict(report.user_properties)[_COMPONENTS])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        counts = ", ".join(f"{title} {self.counts[name]}" for name, title in assets.COMPONENTS.items())
        terminalreporter.write_line(f"tests that ran on each component: {counts}")
