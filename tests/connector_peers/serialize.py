"""Print the workflows of `flows.py` as flytekit serializes them: `python -m tests.connector_peers.serialize`. All are
serialized by one process, as flytekit's import takes seconds.
"""

from __future__ import annotations

import base64
import json
import sys
from collections import OrderedDict
from typing import Any

from flytekit import FlyteContextManager, LaunchPlan
from flytekit.configuration import ImageConfig, SerializationSettings
from flytekit.core.workflow import WorkflowBase
from flytekit.models.task import TaskSpec
from flytekit.tools.translator import get_serializable

from tests.connector_peers import flows


def _text(message: Any) -> str:
    return base64.b64encode(message.SerializeToString()).decode()


def main() -> None:
    images = ImageConfig.auto(img_name=flows.IMAGE)
    settings = SerializationSettings(project="peers", domain="development", version="1", image_config=images)
    found = {}
    for name, workflow in vars(flows).items():
        if isinstance(workflow, WorkflowBase):
            entities: OrderedDict[Any, Any] = OrderedDict()
            plan = LaunchPlan.get_default_launch_plan(FlyteContextManager.current_context(), workflow)
            defaults = get_serializable(entities, settings, plan).to_flyte_idl().spec.default_inputs.parameters
            specs = [one.to_flyte_idl() for one in entities.values() if isinstance(one, TaskSpec)]
            found[name] = {
                "workflow": _text(get_serializable(entities, settings, workflow).to_flyte_idl()),
                "tasks": [_text(spec) for spec in specs],
                "inputs": {key: _text(value.default) for key, value in defaults.items() if value.HasField("default")},
            }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
