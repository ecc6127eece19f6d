"""Inputs that are written into the resource."""

from __future__ import annotations

import msgspec
import pytest

from propeller.controller._resource import MAX_INPUT_OBJECTS, FlyteWorkflow, inline_inputs
from propeller.errors import Invalid
from propeller.kube import ObjectMeta


def workflow(inputs: str) -> FlyteWorkflow:
    return FlyteWorkflow(metadata=ObjectMeta(name="w", namespace="ns", uid="u"), inputs=msgspec.Raw(inputs.encode()))


def listed(item: str, count: int) -> str:
    return f'{{"literals":{{"a":{{"collection":{{"literals":[{",".join([item] * count)}]}}}}}}}}'


def test_as_many_as_a_resource_has_room_for_are_read() -> None:
    of = workflow(listed('{"scalar":{"primitive":{"integer":"7"}}}', 10_000))
    assert len(inline_inputs(of).literals["a"].collection.literals) == 10_000


def test_more_objects_than_real_inputs_have_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(Invalid, match=rf"inputs of ns/w hold \d+ objects, and may hold {MAX_INPUT_OBJECTS}"):
        inline_inputs(workflow(listed("{}", 400_000)))
