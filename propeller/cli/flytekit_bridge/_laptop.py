"""flytekit as it is on a laptop: what it does differently when it runs everything itself holds for tasks here, too.

Run by path in the user's interpreter, where files are read and where tasks run (the kubelet preloads it). It imports
nothing of propeller, and changes the flytekit of that process only.

    images         are never looked up, built or asked for: each task has the one that is there
    eager tasks    run what they call in their own process: there is no FlyteAdmin to start executions
    secrets        of group G and key K are also found in the variable G_K, as in flytekit's local runs
    large lists    are converted item by item, as they are read
    logs           do not repeat an error that the task reports in its error.pb
    map tasks      have as many successes as `min_successes` says
    resources      may be numbers
    packages       for the container's start (`runtime_packages`) are not installed: the interpreter is the user's own
"""

from __future__ import annotations

import importlib
import logging
import os
import runpy
import sys
from typing import Any


def install() -> None:
    """Change what flytekit does in this process; twice is as once."""
    _resolve_no_images()
    _run_eager_tasks_here()
    _find_secrets_by_plain_names()
    _convert_what_is_read()
    for name in ("_map_tasks.py", "_amounts.py"):
        runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), name))  # noqa: PTH100, PTH118, PTH120
    if (entrypoint := sys.modules.get("flytekit.bin.entrypoint")) is not None:
        vars(entrypoint)["RUNTIME_PACKAGES_ENV_NAME"] = "_F_RUNTIME_PACKAGES_OF_NO_IMAGE"
    importlib.import_module("flytekit").logger.addFilter(_says_more)


def _says_more(record: logging.LogRecord) -> bool:
    """Whether a record says something that the error of the task does not."""
    return record.levelno != logging.ERROR or record.module != "entrypoint"


def _resolve_no_images() -> None:
    config = importlib.import_module("flytekit.configuration").ImageConfig
    found = config.find_image

    def find_image(self: Any, name: str) -> Any:
        return found(self, name) or self.default_image

    if found.__module__ != __name__:
        config.find_image = find_image


def _run_eager_tasks_here() -> None:
    module = importlib.import_module("flytekit.core.python_function_task")
    task = getattr(module, "EagerAsyncPythonFunctionTask", None)  # flytekit 1.15 and later
    if task is None:
        return
    manager = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    run_sync = importlib.import_module("flytekit.utils.asyn").loop_manager.run_sync

    def execute(self: Any, **inputs: Any) -> Any:
        context = manager.current_context()
        here = context.execution_state.with_params(mode=self.local_execution_mode())
        with manager.with_context(context.with_execution_state(here)):
            return run_sync(self.async_execute, self, **inputs)

    task.execute = execute
    _name_references()


def _name_references() -> None:
    """Say why an eager task cannot call what is registered elsewhere: here it would run in the task's own process."""
    references = importlib.import_module("flytekit.core.reference_entity").ReferenceEntity

    def execute(self: Any, **inputs: Any) -> Any:
        raise NotImplementedError(
            f"{self.name} is registered elsewhere, and this eager task runs what it calls in its own process: import "
            "it from the file that defines it, or call it from a @workflow"
        )

    references.execute = execute


def _find_secrets_by_plain_names() -> None:
    manager = importlib.import_module("flytekit.core.context_manager").SecretsManager
    get = manager.get

    def get_secret(
        self: Any,
        group: str | None = None,
        key: str | None = None,
        group_version: str | None = None,
        encode_mode: str = "r",
    ) -> Any:
        try:
            return get(self, group, key, group_version, encode_mode)
        except ValueError:
            plain = "_".join(word.upper() for word in (group, group_version, key) if word)
            if plain in os.environ:
                return os.environ[plain].strip()
            raise

    if get.__module__ != __name__:
        manager.get = get_secret


def _convert_what_is_read() -> None:
    """Items of lists are converted as they are read: each item of a map task gets the lists of all, and reads one."""
    models = importlib.import_module("flytekit.models.literals")
    convert = models.Literal.from_flyte_idl

    class Converted(list):  # type: ignore[type-arg]  # flytekit asks for a list
        def __getitem__(self, index: Any) -> Any:
            found = super().__getitem__(index)
            return [convert(item) for item in found] if isinstance(index, slice) else convert(found)

        def __iter__(self) -> Any:
            return map(convert, super().__iter__())

    def from_flyte_idl(cls: Any, message: Any) -> Any:
        return cls(literals=Converted(message.literals))

    models.LiteralCollection.from_flyte_idl = classmethod(from_flyte_idl)


if not __package__:  # run by path
    install()
