"""Write what flytekit registers of a file: `PYTHON flytekit_registers.py FILE FOLDER PROJECT DOMAIN VERSION`.

A message a file, as `pyflyte register` sends them to FlyteAdmin. An eager task comes with a workflow of its own, whose
failure node is flytekit's cleanup task.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from flytekit.configuration import ImageConfig, SerializationSettings
from flytekit.core.context_manager import FlyteContextManager
from flytekit.tools import serialize_helpers


def main(file: Path, folder: Path, project: str, domain: str, version: str) -> None:
    settings = SerializationSettings(
        ImageConfig.auto(img_name="image:v1"), project, domain, version, python_interpreter=sys.executable
    )
    context = FlyteContextManager.current_context()
    with FlyteContextManager.with_context(context.with_serialization_settings(settings)) as serializing:
        sys.path.insert(0, str(file.parent))
        importlib.import_module(file.stem)
        entities = serialize_helpers.get_registrable_entities(serializing)
    folder.mkdir()
    serialize_helpers.persist_registrable_entities(entities, str(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
