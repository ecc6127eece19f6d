"""What is refused of a request for a pod's log, before any kubelet is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from propeller.errors import NotFound
from propeller.kube import PODS, Request
from propeller.testing import ServerUnderTest
from tests.contract.objects import pod

TIME = '" as "2006-01-02T15:04:05Z07:00": cannot parse '
INVALID = 'PodLogOptions "p" is invalid: '

REFUSED: list[tuple[dict[str, str], int, str]] = [
    ({"tailLines": "-1"}, 422, INVALID + "tailLines: Invalid value: -1: must be greater than or equal to 0"),
    ({"limitBytes": "0"}, 422, INVALID + "limitBytes: Invalid value: 0: must be greater than 0"),
    ({"sinceSeconds": "0"}, 422, INVALID + "sinceSeconds: Invalid value: 0: must be greater than 0"),
    (
        {"sinceSeconds": "1", "sinceTime": "2023-11-14T22:13:20Z"},
        422,
        INVALID + "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
    ),
    ({"tailLines": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ({"limitBytes": "1.5"}, 400, 'strconv.ParseInt: parsing "1.5": invalid syntax'),
    ({"sinceSeconds": "99999999999999999999"}, 400, 'parsing "99999999999999999999": value out of range'),
    (
        {"sinceTime": "yesterday"},
        400,
        'parsing time "yesterday' + TIME + '"yesterday" as "2006"',
    ),
    (
        {"sinceTime": "2023-11-14"},
        400,
        'parsing time "2023-11-14' + TIME + '"" as "T"',
    ),
    ({"sinceTime": "2023-13-14T00:00:00Z"}, 400, 'parsing time "2023-13-14T00:00:00Z": month out of range'),
    ({"sinceTime": "2023-11-14T00:00:00Zx"}, 400, 'parsing time "2023-11-14T00:00:00Zx": extra text: "x"'),
    ({"sinceTime": "2023-11-14T00:00:00"}, 400, 'cannot parse "" as "Z07:00"'),
    ({"tailLines": "1_0"}, 400, 'strconv.ParseInt: parsing "1_0": invalid syntax'),
    ({"tailLines": "9" * 5_000}, 400, "value out of range"),
    ({"container": "other"}, 400, "container other is not valid for pod p"),
]


async def asked(server: ServerUnderTest, name: str = "p", **query: str) -> tuple[int, Any]:
    path = PODS.path(server.namespace, name, "log")
    answer = await server.client.transport.send(Request(method="GET", path=path, query=query), deadline=20)
    return answer.status, answer.body.decode()


@pytest.mark.parametrize(("query", "code", "message"), REFUSED, ids=[str(query) for query, _, _ in REFUSED])
async def test_options_that_say_nothing_sensible_are_refused_in_the_servers_words(
    server: ServerUnderTest, query: dict[str, str], code: int, message: str
) -> None:
    await server.client.create(PODS, pod("p"), server.namespace)
    status, body = await asked(server, **query)
    assert status == code
    assert message in json.loads(body)["message"]


async def test_options_are_looked_at_before_the_pod(server: ServerUnderTest) -> None:
    assert (await asked(server, "none", tailLines="-1"))[0] == 422
    assert (await asked(server, "none"))[0] == 404


async def test_the_client_reads_the_log_of_a_pod_that_is_there(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("p"), server.namespace)
    assert await server.client.pod_log("p", server.namespace) == b""
    with pytest.raises(NotFound, match='pods "none" not found'):
        await server.client.pod_log("none", server.namespace)


async def test_all_that_is_wrong_is_said_at_once(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("p"), server.namespace)
    _, body = await asked(server, tailLines="-1", limitBytes="0", sinceSeconds="0")
    causes = json.loads(body)["details"]["causes"]
    assert [one["field"] for one in causes] == ["tailLines", "limitBytes", "sinceSeconds"]


async def test_a_pod_that_is_not_scheduled_has_an_empty_log(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("p"), server.namespace)
    query = {"tailLines": "1", "limitBytes": "10", "timestamps": "true", "sinceSeconds": "5", "container": "main"}
    assert await asked(server, **query) == (204, "")


async def test_the_container_must_be_named_if_there_are_several(server: ServerUnderTest) -> None:
    body = pod("p")
    body["spec"]["containers"] = [{"name": name, "image": "i"} for name in ("a", "b")]
    body["spec"]["initContainers"] = [{"name": "i", "image": "i"}]
    await server.client.create(PODS, body, server.namespace)
    status, text = await asked(server)
    assert status == 400
    assert json.loads(text)["message"] == ("a container name must be specified for pod p, choose one of: [i a b]")
