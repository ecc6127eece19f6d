"""Defects of map tasks, planted to see whether the simulation finds them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import msgspec

from propeller.handlers.transitions import _array
from propeller.workflow import NodeView, Transition
from propeller.workflow._spec import ArraySpec


def _all_items_of_a_map_task_start_at_once() -> AbstractContextManager[Any]:
    real = _array._start_items

    def start(node: NodeView, size: int) -> Transition:
        assert node.spec.array is not None
        array = msgspec.structs.replace(node.spec.array, parallelism=size)
        return real(msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, array=array)), size)

    return mock.patch.object(_array, "_start_items", start)


def _any_number_of_items_is_enough() -> AbstractContextManager[Any]:
    return mock.patch.object(ArraySpec, "needed", return_value=0)


MAP_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_all_items_of_a_map_task_start_at_once, _any_number_of_items_is_enough)
}
