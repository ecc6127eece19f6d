"""The flytekit side: `@task(task_config=K8sJob(completions=3))` runs the function's container as a Job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flytekit import PythonFunctionTask
from flytekit.configuration import SerializationSettings
from flytekit.extend import TaskPlugins


@dataclass
class K8sJob:
    """Fields of the Job's spec, with Kubernetes' meaning."""

    parallelism: int = 1
    completions: int = 1
    backoff_limit: int = 0


class K8sJobTask(PythonFunctionTask[K8sJob]):
    """Every pod of the Job runs the function and writes the same outputs: those of the last one count."""

    def __init__(self, task_config: K8sJob, task_function: Callable[..., Any], **more: Any) -> None:
        super().__init__(task_config=task_config, task_function=task_function, task_type="k8s-job", **more)

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        config = self.task_config
        return {
            "parallelism": config.parallelism,
            "completions": config.completions,
            "backoffLimit": config.backoff_limit,
        }


TaskPlugins.register_pythontask_plugin(K8sJob, K8sJobTask)
