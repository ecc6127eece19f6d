"""Lists: selectors, pages, and what they agree on while others write."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Invalid, Rejected, ResourceExpired
from propeller.kube import (
    CONFIG_MAPS,
    EVENTS,
    PODS,
    SECRETS,
    Raw,
    Request,
    Resource,
    parse_field_selector,
    parse_label_selector,
)
from propeller.testing import ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import config_map, name_of, pod, version

LABELLED = {
    "a": {"app": "x", "tier": "1"},
    "b": {"app": "x", "tier": "2"},
    "c": {"app": "y"},
    "d": {},
}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", "abcd"),
        ("app=x", "ab"),
        ("app==x", "ab"),
        ("app!=x", "cd"),
        ("app in (x,y)", "abc"),
        ("app notin (x)", "cd"),
        ("tier", "ab"),
        ("!tier", "cd"),
        ("app=x,tier=2", "b"),
        ("app,tier notin (1)", "bc"),
        ("app in (x),!tier", ""),
        ("app=", ""),
        ("example.org/none=1", ""),
    ],
)
async def test_label_selectors_select(server: ServerUnderTest, selector: str, selected: str) -> None:
    for name, labels in LABELLED.items():
        await server.client.create(CONFIG_MAPS, config_map(name, labels=labels), server.namespace)
    page = await server.client.list(CONFIG_MAPS, server.namespace, label_selector=selector)
    assert "".join(map(name_of, page.items)) == selected


@pytest.mark.parametrize("selector", ["a in (", "a/b/c=d", "=x", "a,", "!", "a=b=c", "a in x", "a=two words"])
async def test_a_label_selector_that_does_not_parse_is_a_bad_request(server: ServerUnderTest, selector: str) -> None:
    with pytest.raises(Rejected) as refused:
        await server.client.list(CONFIG_MAPS, server.namespace, label_selector=selector)
    assert (refused.value.status, refused.value.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("metadata.name=a", "a"),
        ("metadata.name!=a", "bc"),
        ("spec.nodeName=n", "bc"),
        ("spec.nodeName=", "a"),
        ("status.phase=Running", "b"),
        ("status.phase!=Running", "ac"),
        ("spec.nodeName=n,status.phase!=Running", "c"),
        ("spec.restartPolicy=Never", "abc"),
    ],
)
async def test_field_selectors_of_pods_select(server: ServerUnderTest, selector: str, selected: str) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    await server.client.create(PODS, pod("b", node="n"), server.namespace)
    await server.client.create(PODS, pod("c", node="n"), server.namespace)
    body = {"status": {"phase": "Running"}}
    await server.client.patch(PODS, "b", server.namespace, body=body, subresource="status")
    page = await server.client.list(PODS, server.namespace, field_selector=selector)
    assert "".join(map(name_of, page.items)) == selected


async def test_events_are_found_by_what_they_are_about(server: ServerUnderTest) -> None:
    for name, about in (("e1", "a"), ("e2", "b")):
        involved = {"kind": "Pod", "name": about, "namespace": server.namespace, "uid": "u"}
        body = {"metadata": {"name": name}, "involvedObject": involved, "reason": "R", "type": "Normal"}
        await server.client.create(EVENTS, body, server.namespace)
    selector = "involvedObject.name=b,involvedObject.kind=Pod,involvedObject.uid=u"
    page = await server.client.list(EVENTS, server.namespace, field_selector=selector)
    assert [name_of(event) for event in page.items] == ["e2"]


async def test_a_field_that_a_kind_cannot_be_selected_by_is_a_bad_request(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    cases: list[tuple[Resource[Any], str]] = [
        (CONFIG_MAPS, "data.x=1"),
        (FLYTE_WORKFLOWS, "status.phase=1"),
        (PODS, "nonsense"),
    ]
    for resource, selector in cases:
        with pytest.raises(Rejected) as refused:
            await server.client.list(resource, server.namespace, field_selector=selector)
        assert refused.value.status == 400


async def test_both_selectors_must_hold(server: ServerUnderTest) -> None:
    for name in "ab":
        await server.client.create(CONFIG_MAPS, config_map(name, labels={"l": "1"}), server.namespace)
    page = await server.client.list(
        CONFIG_MAPS, server.namespace, label_selector="l=1", field_selector="metadata.name=b"
    )
    assert [name_of(item) for item in page.items] == ["b"]


async def test_the_whole_clusters_list_holds_every_namespace(server: ServerUnderTest) -> None:
    other = await server.another_namespace()
    label = {"which": server.namespace}
    for namespace in (server.namespace, other):
        await server.client.create(SECRETS, {"metadata": {"name": "s", "labels": label}}, namespace)
    page = await server.client.list(SECRETS, label_selector=f"which={server.namespace}")
    assert {item["metadata"]["namespace"] for item in page.items} == {server.namespace, other}


async def test_a_namespace_that_is_not_there_lists_as_empty(server: ServerUnderTest) -> None:
    page = await server.client.list(CONFIG_MAPS, "none")
    assert page.items == ()
    assert int(page.resource_version) > 0


async def test_lists_are_sorted_by_name(server: ServerUnderTest) -> None:
    for name in ("b", "a-1", "c", "a"):
        await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
    page = await server.client.list(CONFIG_MAPS, server.namespace)
    assert [name_of(item) for item in page.items] == ["a", "a-1", "b", "c"]


async def test_a_list_may_be_asked_of_any_version_that_is_there(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    for wanted in ("0", made["metadata"]["resourceVersion"]):
        page = await server.client.list(CONFIG_MAPS, server.namespace, resource_version=wanted)
        assert int(page.resource_version) >= int(wanted)


async def test_pages_show_the_state_of_the_first_one_whatever_is_written_meanwhile(server: ServerUnderTest) -> None:
    made = {}
    for number in range(10):
        made[f"c{number}"] = await server.client.create(CONFIG_MAPS, config_map(f"c{number}"), server.namespace)
    page = await server.client.list(CONFIG_MAPS, server.namespace, limit=3)
    first_version = page.resource_version
    assert (len(page.items), page.remaining) == (3, 7)
    await server.client.create(CONFIG_MAPS, config_map("c55"), server.namespace)
    await server.client.delete(CONFIG_MAPS, "c7", server.namespace)
    await server.client.patch(CONFIG_MAPS, "c8", server.namespace, body={"data": {"late": "1"}})
    seen: list[Raw] = list(page.items)
    while page.continue_token:
        page = await server.client.list(CONFIG_MAPS, server.namespace, limit=3, continue_token=page.continue_token)
        assert page.resource_version == first_version
        assert len(page.items) <= 3
        seen.extend(page.items)
    assert [name_of(item) for item in seen] == list(made)
    assert [version(item) for item in seen] == [version(item) for item in made.values()]


async def test_pages_of_a_selection_are_full(server: ServerUnderTest) -> None:
    for number in range(12):
        labels = {"even": "yes"} if number % 2 == 0 else {}
        await server.client.create(CONFIG_MAPS, config_map(f"c{number:02}", labels=labels), server.namespace)
    sizes: list[int] = []
    names: list[str] = []
    token = ""
    while True:
        page = await server.client.list(
            CONFIG_MAPS, server.namespace, label_selector="even", limit=4, continue_token=token
        )
        sizes.append(len(page.items))
        names += map(name_of, page.items)
        if not (token := page.continue_token):
            break
    assert sizes == [4, 2]
    assert names == [f"c{number:02}" for number in range(0, 12, 2)]


async def test_the_clients_pages_are_the_list(server: ServerUnderTest) -> None:
    names = [f"c{number:03}" for number in range(30)]
    for name in names:
        await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
    pages = [page async for page in server.client.pages(CONFIG_MAPS, server.namespace)]
    assert [name_of(item) for page in pages for item in page.items] == names


async def test_a_continue_token_from_before_a_compaction_is_stale(server: ServerUnderTest) -> None:
    for number in range(4):
        await server.client.create(CONFIG_MAPS, config_map(f"c{number}"), server.namespace)
    page = await server.client.list(CONFIG_MAPS, server.namespace, limit=2)
    await server.client.create(CONFIG_MAPS, config_map("later"), server.namespace)
    await server.forget()
    with pytest.raises(ResourceExpired, match="410"):
        await server.client.list(CONFIG_MAPS, server.namespace, limit=2, continue_token=page.continue_token)


async def test_a_continue_token_that_is_none_is_a_bad_request(server: ServerUnderTest) -> None:
    with pytest.raises(Rejected) as refused:
        await server.client.list(CONFIG_MAPS, server.namespace, continue_token="garbage")
    assert refused.value.status == 400


async def test_a_limit_that_is_no_number_is_a_bad_request(server: ServerUnderTest) -> None:
    path = CONFIG_MAPS.path(server.namespace)
    answer = await server.client.transport.send(Request(method="GET", path=path, query={"limit": "x"}), deadline=20)
    assert answer.status == 400


SELECTORS = [
    "a",
    "!a",
    "! a",
    "a=b",
    "a = b",
    "a==b",
    "a!=",
    "a=",
    "a in (b)",
    "a in(b)",
    "a-in(b)",
    "a in ()",
    "a in (b,,c)",
    "a in ( b , c )",
    "a in (b c)",
    "a notin (b),c",
    "in in (in)",
    "notin",
    "a=in,b=notin",
    "a,,b",
    ",a",
    "a,",
    "!",
    "!a=b",
    "!a in (b)",
    "a>1",
    "a=b=c",
    "a b",
    "a=-b",
    "a/b",
    "a/b/c",
    "A.b_c/D.e_f=G.h_i",
    "a.b/D.e_f=G.h_i",
    "-a",
    "a=" + "x" * 63,
    "a=" + "x" * 64,
    "x" * 63,
    "x" * 64,
    "   ",
]


@pytest.mark.parametrize("selector", SELECTORS)
async def test_our_parser_takes_the_selectors_that_the_server_takes(
    real_server: ServerUnderTest, selector: str
) -> None:
    """All but those with `>` and `<`, which no list or watch has a use for."""
    try:
        parse_label_selector(selector)
    except Invalid:
        taken_here = False
    else:
        taken_here = True
    try:
        await real_server.client.list(CONFIG_MAPS, real_server.namespace, label_selector=selector)
    except Rejected:
        taken_there = False
    else:
        taken_there = True
    assert taken_here == (taken_there and ">" not in selector)


@pytest.mark.parametrize(
    "selector",
    [
        "metadata.name=a",
        "metadata.name==a",
        "metadata.name!=a",
        "metadata.name=a\\,b",
        "metadata.name=a,b",
        "metadata.name=a=b",
        "metadata.name=a\\",
        "metadata.name=\\\\,metadata.namespace=x",
        ",metadata.name=a,",
        "x",
        "=a",
    ],
)
async def test_our_parser_takes_the_field_selectors_that_the_server_takes(
    real_server: ServerUnderTest, selector: str
) -> None:
    try:
        parse_field_selector(selector)
    except Invalid:
        with pytest.raises(Rejected):
            await real_server.client.list(CONFIG_MAPS, real_server.namespace, field_selector=selector)
    else:
        await real_server.client.list(CONFIG_MAPS, real_server.namespace, field_selector=selector)
