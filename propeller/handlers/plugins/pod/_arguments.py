"""The arguments of a task's containers.

Tasks of AWS Batch are compiled to write their outputs below `/0` of the output prefix: FlytePropeller's plugin runs
each as a job array of one, and reads the outputs of its item 0 (flyteplugins array/catalog.go). Here such a task is a
pod, or a job of a connector, whose outputs are read from the prefix itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

AWS_BATCH = "aws-batch"

_FIRST_ITEM = re.compile(r"(\{\{\s*+[.$]outputPrefix\s*+\}\})/0", re.IGNORECASE)


def arguments(task_type: str, given: Iterable[str]) -> Iterable[str]:
    """Return the arguments of a container of a task of this type, with their templates."""
    if task_type != AWS_BATCH:
        return given
    return [found[1] if (found := _FIRST_ITEM.fullmatch(text)) else text for text in given]
