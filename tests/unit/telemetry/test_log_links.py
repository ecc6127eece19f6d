"""Links to the logs of tasks: templates with FlytePropeller's variables, and what has no value."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.config import Settings
from propeller.telemetry import LogLink, TaskLog, pod_values, task_logs

POD = {
    "metadata": {"name": "e-n0-0", "uid": "u-1", "creationTimestamp": "2026-01-02T03:04:05Z"},
    "spec": {"nodeName": "node-1", "containers": [{"name": "proxy"}, {"name": "main"}]},
    "status": {
        "containerStatuses": [
            {"name": "proxy", "containerID": "containerd://other"},
            {
                "name": "main",
                "containerID": "containerd://abc",
                "state": {"terminated": {"finishedAt": "2026-01-02T03:05:05Z"}},
            },
        ]
    },
}


def links(*templates: LogLink, config: dict[str, str] | None = None, **values: str) -> list[TaskLog]:
    return list(task_logs(templates, values, "python-task", config or {}))


@pytest.mark.parametrize(
    "use", ["{{ .podName }}", "{{.podName}}", "{{ $podName }}", "{{ .PODNAME }}", "{{   .podname   }}"]
)
def test_variables_are_written_as_flytepropeller_reads_them(use: str) -> None:
    assert links(LogLink(name="a", uri=f"https://l/{use}"), podName="e-n0-0") == [TaskLog("a", "https://l/e-n0-0")]


def test_a_pod_gives_the_values_of_the_tasks_own_container() -> None:
    assert pod_values(POD, "main") == {
        "podUID": "u-1",
        "containerName": "main",
        "containerId": "abc",
        "hostname": "e-n0-0",
        "nodeName": "node-1",
        "podRFC3339StartTime": "2026-01-02T03:04:05Z",
        "podRFC3339FinishTime": "2026-01-02T03:05:05Z",
        "podUnixStartTime": "1767323045",
        "podUnixFinishTime": "1767323105",
    }


def test_a_link_whose_values_are_not_known_is_not_made_and_says_which() -> None:
    template = LogLink(name="a", uri="https://l/{{ .podUID }}/{{ .containerId }}/{{ .podUID }}{{ .logName }}")
    assert links(template) == [TaskLog("a", "", ("podUID", "containerId"))]


def test_some_links_are_for_some_tasks_alone() -> None:
    of_spark = LogLink(name="spark", uri="https://s", task_types=("spark",))
    asked = LogLink(name="vscode", uri="https://v:{{ .taskConfig.port }}", link_type="vscode")
    of_all = LogLink(name="all", uri="https://a")
    assert [one.name for one in links(of_spark, asked, of_all)] == ["all"]
    assert links(asked, config={"link_type": "other, vscode", "port": "80"}) == [TaskLog("vscode", "https://v:80")]
    assert links(asked, config={"link_type": "vscode"}) == [TaskLog("vscode", "", ("taskConfig.port",))]


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_a_task_calls_itself_cannot_change_where_a_link_leads(hostile: str) -> None:
    template = LogLink(name="a", uri="https://logs.example.com/{{ .taskID }}?v={{ .taskVersion }}#end")
    (found,) = links(template, taskID=hostile, taskVersion=hostile)
    seen = urlsplit(found.uri)
    assert (seen.scheme, seen.netloc, seen.fragment) == ("https", "logs.example.com", "end")
    assert seen.path.count("/") == 1
    assert seen.query.count("&") == 0
    assert found.uri.isprintable()
    assert " " not in found.uri


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"name": " ", "uri": "https://a"}, "name must not be empty"),
        ({"name": "a", "uri": "logs/{{ .podName }}"}, "uri must begin with a scheme"),
        ({"name": "a", "uri": "https://a/{{ .podNam }}"}, "{{ .podNam }}, which is no variable; there are logName"),
        ({"name": "a", "uri": "https://a/{{ .taskConfig.port }}"}, "needs a link_type"),
        ({"name": "a", "url": "https://a"}, "unknown field `url`"),
    ],
)
def test_a_template_that_cannot_be_is_refused_where_settings_are_read(link: dict[str, str], says: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"log_links": {"templates": [link]}}, Settings)
    assert says in str(refused.value)
    assert "$.log_links.templates[0]" in str(refused.value)
