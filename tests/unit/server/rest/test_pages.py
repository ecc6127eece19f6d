"""Pages are one list, whatever is written between them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, Client
from propeller.testing import run_virtually
from tests.examples import examples
from tests.unit.server.asking import DEFAULT, ask

NAMES = [f"c{letter}" for letter in "abcdefgh"]
WRITES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["put", "delete", "move"])), max_size=6)


async def write(client: Client, there: set[str], name: str, what: str) -> None:
    """Create, change or delete one, or move it in or out of the selection."""
    if what == "delete":
        if name in there:
            await client.delete(CONFIG_MAPS, name, "default")
            there.remove(name)
    elif name in there:
        body: Any = {"metadata": {"labels": {"in": "no"}}} if what == "move" else {"data": {"k": str(random.random())}}
        await client.patch(CONFIG_MAPS, name, "default", body=body)
    else:
        await client.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"in": "yes"}}}, "default")
        there.add(name)


@examples(60)
@given(
    before=WRITES,
    between=st.lists(WRITES, max_size=4),
    limit=st.integers(1, 4),
    selector=st.sampled_from(["", "in=yes"]),
)
def test_all_pages_show_the_state_of_the_first(
    before: list[tuple[str, str]], between: list[list[tuple[str, str]]], limit: int, selector: str
) -> None:
    async def run() -> None:
        async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
            client = Client(server.transport())
            there: set[str] = set()
            for name, what in before:
                await write(client, there, name, what)
            whole = await ask(server, "GET", f"{DEFAULT}/configmaps", labelSelector=selector)
            pages: list[Any] = []
            token, writes = "", iter(between)
            while not pages or token:
                page = await ask(
                    server,
                    "GET",
                    f"{DEFAULT}/configmaps",
                    limit=str(limit),
                    labelSelector=selector,
                    **({"continue": token} if token else {}),
                )
                pages.append(page)
                token = page["metadata"].get("continue", "")
                for name, what in next(writes, []):
                    await write(client, there, name, what)
            assert [item for page in pages for item in page["items"]] == whole["items"]
            assert {page["metadata"]["resourceVersion"] for page in pages} == {whole["metadata"]["resourceVersion"]}
            assert all(len(page["items"]) == limit for page in pages[:-1])
            if not selector:
                remaining = [page["metadata"].get("remainingItemCount", 0) for page in pages]
                assert remaining == [max(len(whole["items"]) - limit * (index + 1), 0) for index in range(len(pages))]

    run_virtually(run())


@pytest.mark.parametrize("token", ["x", "eyJ2IjoiIn0", "e30", "////", "eyJydiI6IjEiLCJzdGFydCI6ImEifQ"])
async def test_an_invalid_continue_token_is_a_bad_request(server: ApiServer, token: str) -> None:
    refused = await ask(server, "GET", f"{DEFAULT}/pods", **{"continue": token})
    assert refused["code"] == 400
