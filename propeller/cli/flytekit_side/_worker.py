"""What needs flytekit: read a file of workflows, serialize one, and turn texts into its inputs.

Run with the user's interpreter, by path; it imports nothing of propeller. One request, JSON on standard input; one
answer, JSON in the file that the request names, so that whatever the user's module prints harms nothing.

    in   {"answer", "file", "entity" ("" to list), "inputs": {name: text}, "project", "domain", "version", "image",
          "raw_output_prefix"}
    out  {"entities": [[name, kind, text], ...]}
         {"name", "kind", "parameters": [{"name", "type", "required", "default", "description"}, ...],
          "workflow", "tasks", "sub_workflows", "launch_plans", "inputs"}    messages in base64
         {"error": {"what": "flytekit" | "import" | "entity" | "input" | "serialize", "message", "detail"}}
"""

# Names of flytekit are looked up at run time: this file is part of propeller, which must not depend on flytekit.
# ruff: noqa: PTH100, PTH110, PTH118, PTH119, PTH120, PTH122, PTH123

from __future__ import annotations

import base64
import collections
import importlib
import json
import os
import sys
import traceback
import types
from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """The request cannot be answered; `what` says which part of it is at fault."""

    def __init__(self, what: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.what = what
        self.detail = detail


def answer(request: Json) -> Json:
    module = _import(request["file"])
    entities = _entities(module)
    if not request["entity"]:
        return {"entities": [[name, kind, _first_line(entity)] for name, (kind, entity) in entities.items()]}
    return _serialized(request, entities)


def _import(path: str) -> types.ModuleType:
    """The user's module, by the name that its package gives it, as pyflyte imports it."""
    try:
        importlib.import_module("flytekit")
    except ImportError as error:
        raise Refused("flytekit", f"{sys.executable} cannot import flytekit: {error}") from error
    root, parts = os.path.dirname(path), [os.path.splitext(os.path.basename(path))[0]]
    while os.path.exists(os.path.join(root, "__init__.py")):
        parts.insert(0, os.path.basename(root))
        root = os.path.dirname(root)
    sys.path.insert(0, root)
    try:
        return importlib.import_module(".".join(parts))
    except BaseException as error:
        raise Refused("import", f"{type(error).__name__}: {error}", _user_traceback(error)) from error


def _user_traceback(error: BaseException) -> str:
    """The part of a traceback that begins in the user's module."""
    frames = traceback.extract_tb(error.__traceback__)
    machinery = (os.path.abspath(__file__), importlib.__file__ or "")
    start = next(
        (n for n, frame in enumerate(frames) if frame.filename not in machinery and "<frozen" not in frame.filename), 0
    )
    lines = traceback.format_list(frames[start:]) + traceback.format_exception_only(type(error), error)
    return "".join(lines)


def _entities(module: types.ModuleType) -> dict[str, tuple[str, Any]]:
    """Workflows, tasks and launch plans of the module, in the order of its text; private names are not offered."""
    classes = {
        "workflow": importlib.import_module("flytekit.core.workflow").WorkflowBase,
        "task": importlib.import_module("flytekit.core.base_task").PythonTask,
        "launch plan": importlib.import_module("flytekit.core.launch_plan").LaunchPlan,
    }
    return {
        name: (kind, value)
        for name, value in vars(module).items()
        for kind, class_ in classes.items()
        if isinstance(value, class_) and not name.startswith("_")
    }


def _first_line(entity: Any) -> str:
    function = getattr(entity, "_workflow_function", None) or getattr(entity, "task_function", None)
    return ((getattr(function, "__doc__", None) or "").strip().splitlines() or [""])[0]


def _serialized(request: Json, entities: dict[str, tuple[str, Any]]) -> Json:
    name = request["entity"]
    if name not in entities:
        known = ", ".join(entities) or "none at all"
        raise Refused("entity", f"there is no workflow, task or launch plan named {name!r}; the file has: {known}")
    kind, entity = entities[name]
    try:
        return {"name": name, "kind": kind, **_messages(request, kind, entity)}
    except Refused:
        raise
    except Exception as error:
        raise Refused("serialize", f"{type(error).__name__}: {error}", _user_traceback(error)) from error


def _messages(request: Json, kind: str, entity: Any) -> Json:
    flytekit = importlib.import_module("flytekit")
    configuration = importlib.import_module("flytekit.configuration")
    translator = importlib.import_module("flytekit.tools.translator")
    launch_plan = entity if kind == "launch plan" else flytekit.LaunchPlan.get_or_create(_workflow_of(kind, entity))
    settings = configuration.SerializationSettings(
        image_config=configuration.ImageConfig.auto(img_name=request["image"]),
        project=request["project"],
        domain=request["domain"],
        version=request["version"],
        python_interpreter=sys.executable,
    )
    found: Any = collections.OrderedDict()
    translator.get_serializable(found, settings, launch_plan)
    groups: dict[str, list[str]] = {"TaskSpec": [], "WorkflowSpec": [], "LaunchPlan": []}
    workflow = b""
    root = launch_plan.workflow.name
    for spec in found.values():
        group = groups.get(type(spec).__name__)
        if group is None:
            continue
        message = spec.to_flyte_idl().SerializeToString()
        if type(spec).__name__ == "WorkflowSpec" and spec.template.id.name == root:
            workflow = message
        else:
            group.append(_text(message))
    literals, parameters = _inputs(request, launch_plan)
    return {
        "workflow": _text(workflow),
        "tasks": groups["TaskSpec"],
        "sub_workflows": groups["WorkflowSpec"],
        "launch_plans": groups["LaunchPlan"],
        "inputs": literals,
        "parameters": parameters,
    }


def _workflow_of(kind: str, entity: Any) -> Any:
    """The entity, or for a task a workflow of that one node (as FlyteAdmin makes for a single-task execution)."""
    if kind == "workflow":
        return entity
    imperative = importlib.import_module("flytekit.core.workflow").ImperativeWorkflow(name=f".flytegen.{entity.name}")
    inputs = {
        name: imperative.add_workflow_input(name, python_type)
        for name, python_type in entity.python_interface.inputs.items()
    }
    node = imperative.add_entity(entity, **inputs)
    for name in entity.python_interface.outputs:
        imperative.add_workflow_output(name, node.outputs[name])
    return imperative


def _inputs(request: Json, launch_plan: Any) -> tuple[str, list[Json]]:
    """The literals of the texts that were given, completed by defaults; and what the entity takes."""
    interface = launch_plan.workflow.interface.inputs
    python_types = launch_plan.workflow.python_interface.inputs
    defaults = launch_plan.parameters.parameters
    fixed = launch_plan.fixed_inputs.literals
    literals = dict(fixed)
    parameters = []
    given = request["inputs"]
    unknown = [name for name in given if name not in interface or name in fixed]
    if unknown:
        takes = ", ".join(name for name in interface if name not in fixed) or "none"
        raise Refused("input", f"there is no input {unknown[0]!r}; the inputs are: {takes}")
    for name, variable in interface.items():
        if name in fixed:
            continue
        parameter = defaults.get(name)
        default = parameter.default if parameter is not None and not parameter.required else None
        click_type = _click_type(variable, python_types[name])
        parameters.append(
            {
                "name": name,
                "type": getattr(click_type, "name", None) or str(python_types[name]),
                "required": default is None,
                "default": "" if default is None else _default_text(default, python_types[name]),
                "description": variable.description or "",
                "choices": list(getattr(click_type, "choices", [])),
            }
        )
        if name in given:
            literals[name] = _literal(name, given[name], click_type, variable, python_types[name], request)
        elif default is not None:
            literals[name] = default
    model = importlib.import_module("flytekit.models.literals").LiteralMap(literals)
    return _text(model.to_flyte_idl().SerializeToString()), parameters


def _click_type(variable: Any, python_type: Any) -> Any:
    return importlib.import_module("flytekit.interaction.click_types").literal_type_to_click_type(
        variable.type, python_type
    )


def _literal(name: str, text: str, click_type: Any, variable: Any, python_type: Any, request: Json) -> Any:
    """A text as the input's literal. Files and directories that are named are uploaded to the raw output prefix."""
    click = importlib.import_module("click")
    context_manager = importlib.import_module("flytekit.core.context_manager")
    storage = importlib.import_module("flytekit.core.data_persistence")
    engine = importlib.import_module("flytekit.core.type_engine").TypeEngine
    calling = click.Context(click.Command("run"), obj=types.SimpleNamespace(is_remote=True, verbose=0))
    context = context_manager.FlyteContextManager.current_context()
    access = storage.FileAccessProvider(
        local_sandbox_dir=context.file_access.local_sandbox_dir,
        raw_output_prefix=request["raw_output_prefix"],
        data_config=context.file_access.data_config,
    )
    try:
        with context_manager.FlyteContextManager.with_context(context.with_file_access(access)) as uploading:
            value = click_type.convert(text, None, calling)
            return engine.to_literal(uploading, value, python_type, variable.type)
    except click.ClickException as error:
        reason = error.message
    except Exception as error:  # noqa: BLE001 - converters of user types raise anything: it is the input's fault
        reason = f"{type(error).__name__}: {error}"
    wanted = getattr(click_type, "name", None) or python_type
    raise Refused("input", f"input {name!r} cannot be {text!r}, it is of type {wanted}: {reason}")


def _default_text(literal: Any, python_type: Any) -> str:
    engine = importlib.import_module("flytekit.core.type_engine").TypeEngine
    manager = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    try:
        return str(engine.to_python_value(manager.current_context(), literal, python_type))
    except Exception:  # noqa: BLE001 - help text only: a default that does not show is still a default
        return "(set)"


def _text(message: bytes) -> str:
    return base64.b64encode(message).decode()


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for the life of the process
    sys.stdout.flush()
    os.dup2(2, 1)  # what the user's module prints is no answer
    try:
        reply = answer(request)
    except Refused as refused:
        reply = {"error": {"what": refused.what, "message": str(refused), "detail": refused.detail}}
    with open(request["answer"], "w") as file:
        json.dump(reply, file)


if __name__ == "__main__":
    main()
