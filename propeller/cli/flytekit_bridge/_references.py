"""References of a file to registered entities: flytekit's `reference_task`, `reference_workflow` and
`reference_launch_plan`.

Part of the worker, which imports it by its bare name: it uses nothing of propeller, and runs on Python 3.9.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Mapping
from typing import Any


def serialize_workflow_references() -> None:
    """Serialize nodes of `reference_workflow` as those of the other references, by their ids.

    flytekit refuses them, as it would need the workflow's template: the registry has that.
    """
    translator = importlib.import_module("flytekit.tools.translator")
    workflow = importlib.import_module("flytekit.core.workflow").WorkflowBase
    reference = importlib.import_module("flytekit.core.reference_entity").ReferenceEntity

    class Own(type):
        def __instancecheck__(cls, one: Any) -> bool:
            return isinstance(one, workflow) and not isinstance(one, reference)

    vars(translator)["WorkflowBase"] = Own("WorkflowBase", (), {})


def declared(found: Mapping[Any, Any]) -> list[list[str]]:
    """Return identifier and interface, messages in base64, of each reference among the serialized entities."""
    reference = importlib.import_module("flytekit.core.reference_entity").ReferenceEntity
    messages = ((one.id, one.interface) for one in found if isinstance(one, reference))
    return [[_text(identifier), _text(interface)] for identifier, interface in messages]


def _text(model: Any) -> str:
    return base64.b64encode(model.to_flyte_idl().SerializeToString()).decode()
