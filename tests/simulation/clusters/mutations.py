"""Defects that are planted, one at a time: each has to be found by a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from propeller.controller._janitor import Janitor
from propeller.errors import PropellerError
from propeller.workflow import Placements

Mutation = Callable[[], AbstractContextManager[Any]]


def _placements_are_not_written() -> AbstractContextManager[Any]:
    return mock.patch.object(Placements, "unwritten", False)


def _an_attempt_of_a_lost_cluster_is_launched_again_elsewhere() -> AbstractContextManager[Any]:
    """Under its number, so that it may publish twice."""
    return mock.patch.object(Placements, "is_placed", return_value=False)


def _workflows_that_cannot_be_asked_for_are_gone() -> AbstractContextManager[Any]:
    is_gone = Janitor._is_gone

    async def rash(self: Janitor, suspect: Any) -> bool:
        try:
            return await is_gone(self, suspect)
        except PropellerError:
            return True

    return mock.patch.multiple(Janitor, _is_gone=rash, _exists=lambda self, key, uid: False)


MUTATIONS: Mapping[str, Mutation] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _placements_are_not_written,
        _an_attempt_of_a_lost_cluster_is_launched_again_elsewhere,
        _workflows_that_cannot_be_asked_for_are_gone,
    )
}
