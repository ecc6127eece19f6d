"""What needs flytekit: read a file of workflows, serialize one, and turn texts into its inputs.

Run with the user's interpreter, by path; it imports nothing of propeller. One request, JSON on standard input; one
answer, JSON in the file that the request names, so that whatever the user's module prints harms nothing.

    in   {"answer", "file", "entity" ("" to list), "words": [text], "values": {input: text}, "options": [text],
          "project", "domain", "version", "image", "images": {name: image}, "needs_images", "raw_output_prefix",
          "limit": seconds, 0 for none}
    out  {"entities": [[name, kind, text], ...]}
         {"name", "kind", "parameters": [{"name", "type", "required", "default", "description"}, ...],
          "workflow", "tasks", "workflows", "launch_plans", "inputs",    messages in base64
          "references": [[identifier, interface], ...]}
         {"error": {"what": "flytekit" | "import" | "entity" | "input" | "serialize" | "time", "message", "detail"}}
"""

# Names of flytekit are looked up at run time: this file is part of propeller, which must not depend on flytekit.
# ruff: noqa: PTH100, PTH110, PTH118, PTH119, PTH120, PTH122, PTH123

from __future__ import annotations

import base64
import collections
import importlib
import inspect
import json
import os
import runpy
import sys
import traceback
import types
import typing
from typing import Any

Json = dict[str, Any]

_texts: Any = importlib.import_module(f"{__package__}._texts" if __package__ else "_texts")  # beside this file
_time_limit: Any = importlib.import_module(f"{__package__}._time_limit" if __package__ else "_time_limit")
_references: Any = importlib.import_module(f"{__package__}._references" if __package__ else "_references")

_BOOLEAN = 4
"""flyteidl.core.SimpleType.BOOLEAN."""


class Refused(Exception):
    """The request cannot be answered; `what` says which part of it is wrong."""

    def __init__(self, what: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.what = what
        self.detail = detail


def answer(request: Json) -> Json:
    module = _import(request["file"], needs_images=request["needs_images"])
    entities = _entities(module)
    if not request["entity"]:
        shown = {name: found for name, found in entities.items() if not name.startswith("_")}
        return {"entities": [[name, kind, _first_line(entity)] for name, (kind, entity) in shown.items()]}
    return _serialized(request, entities)


def _import(path: str, *, needs_images: bool) -> types.ModuleType:
    """The user's module, by the name that its package gives it, as pyflyte imports it."""
    try:
        importlib.import_module("flytekit")
        beside = os.path.dirname(os.path.abspath(__file__))
        for name in ("_map_tasks.py", "_amounts.py") if needs_images else ("_laptop.py",):
            runpy.run_path(os.path.join(beside, name))
    except ImportError as error:
        raise Refused("flytekit", f"{sys.executable} cannot import flytekit: {error}") from error
    root, parts = os.path.dirname(path), [os.path.splitext(os.path.basename(path))[0]]
    while os.path.exists(os.path.join(root, "__init__.py")):
        parts.insert(0, os.path.basename(root))
        root = os.path.dirname(root)
    sys.path.insert(0, root)
    try:
        module = importlib.import_module(".".join(parts))
    except BaseException as error:
        raise Refused("import", f"{type(error).__name__}: {error}", _user_traceback(error)) from error
    if os.path.realpath(getattr(module, "__file__", None) or "") != os.path.realpath(path):
        name = ".".join(parts)
        raise Refused("import", f"flytekit itself uses a module named {name!r}, so that name is taken: rename the file")
    return module


def _user_traceback(error: BaseException) -> str:
    """The frames that begin in the user's module."""
    lines = traceback.format_list(_user_frames(traceback.extract_tb(error.__traceback__)))
    if isinstance(error, SyntaxError):  # its location is in no frame
        lines += traceback.format_exception_only(type(error), error)[:-1]
    return "".join(lines)


def _user_frames(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    machinery = (os.path.abspath(__file__), importlib.__file__ or "")
    start = next(
        (n for n, frame in enumerate(frames) if frame.filename not in machinery and "<frozen" not in frame.filename), 0
    )
    return frames[start:]


def _entities(module: types.ModuleType) -> dict[str, tuple[str, Any]]:
    """Workflows, tasks and launch plans of the module, in the order of its text."""
    reference = importlib.import_module("flytekit.core.reference_entity").ReferenceEntity
    classes = {
        "workflow": importlib.import_module("flytekit.core.workflow").WorkflowBase,
        "task": importlib.import_module("flytekit.core.base_task").PythonTask,
        "launch plan": importlib.import_module("flytekit.core.launch_plan").LaunchPlan,
    }
    return {
        name: (kind, value)
        for name, value in vars(module).items()
        for kind, class_ in classes.items()
        if isinstance(value, class_) and not isinstance(value, reference)
    }


def _first_line(entity: Any) -> str:
    function = getattr(entity, "_workflow_function", None) or getattr(entity, "task_function", None)
    return ((getattr(function, "__doc__", None) or "").strip().splitlines() or [""])[0]


def _serialized(request: Json, entities: dict[str, tuple[str, Any]]) -> Json:
    name = request["entity"]
    if name not in entities:
        known = ", ".join(known for known in entities if not known.startswith("_")) or "none at all"
        raise Refused("entity", f"there is no workflow, task or launch plan named {name!r}; the file has: {known}")
    kind, entity = entities[name]
    try:
        return {"name": name, "kind": kind, **_messages(request, kind, entity, entities)}
    except Refused:
        raise
    except Exception as error:
        raise Refused("serialize", f"{type(error).__name__}: {error}", _user_traceback(error)) from error


def _messages(request: Json, kind: str, entity: Any, entities: dict[str, tuple[str, Any]]) -> Json:
    configuration = importlib.import_module("flytekit.configuration")
    translator = importlib.import_module("flytekit.tools.translator")
    launch_plan = _launch_plan_of(kind, entity)
    settings = configuration.SerializationSettings(
        image_config=_image_config(configuration.ImageConfig, request),
        project=request["project"],
        domain=request["domain"],
        version=request["version"],
        python_interpreter=sys.executable,
    )
    found: Any = collections.OrderedDict()
    _references.serialize_workflow_references()
    translator.get_serializable(found, settings, launch_plan)
    if any(_is_dynamic(one) for one in found):  # what such a task calls is known when it runs
        for other, value in entities.values():
            if other == "launch plan":
                translator.get_serializable(found, settings, value)
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
        "workflows": groups["WorkflowSpec"],
        "launch_plans": groups["LaunchPlan"],
        "references": _references.declared(found),
        "inputs": literals,
        "parameters": parameters,
    }


def _is_dynamic(entity: Any) -> bool:
    return getattr(getattr(entity, "execution_mode", None), "name", "") == "DYNAMIC"


def _image_config(config: Any, request: Json) -> Any:
    """The image of tasks that name none, and those that they name: of the command, then of flytekit's own file."""
    own = config.auto(img_name=request["image"])
    named = config.from_images(request["image"], request["images"])
    return config(default_image=own.default_image, images=[*(named.images or ()), *(own.images or ())])


def _launch_plan_of(kind: str, entity: Any) -> Any:
    """The entity with its inputs' defaults. For a task it is a workflow of that one node, as FlyteAdmin makes for the
    execution of a single task; its defaults are those of its function.
    """
    plan = importlib.import_module("flytekit").LaunchPlan
    if kind == "launch plan":
        return entity
    if kind == "workflow":
        return plan.get_or_create(entity)
    defaults = {
        name: default
        for name, (_, default) in entity.python_interface.inputs_with_defaults.items()
        if default is not None
    }
    workflow = _workflow_of(entity)
    return plan.create(workflow.name, workflow, default_inputs=defaults)


def _workflow_of(entity: Any) -> Any:
    imperative = importlib.import_module("flytekit.core.workflow").ImperativeWorkflow(name=f".flytegen.{entity.name}")
    inputs = {
        name: imperative.add_workflow_input(name, python_type)
        for name, python_type in entity.python_interface.inputs.items()
    }
    node = _add_node(imperative, entity, inputs)
    promises = importlib.import_module("flytekit.core.promise")
    for name, python_type in entity.python_interface.outputs.items():
        output = promises.NodeOutput(node=node, var=name)
        imperative.add_workflow_output(name, promises.Promise(var=name, val=output), _without_artifact(python_type))
    return imperative


def _without_artifact(python_type: Any) -> Any:
    """The type of a workflow's output: of artifacts, a task alone may leave partitions to its run."""
    if typing.get_origin(python_type) is not typing.Annotated:
        return python_type
    artifacts = importlib.import_module("flytekit.core.artifact")
    of, *said = typing.get_args(python_type)
    kept = [one for one in said if not isinstance(one, (artifacts.Artifact, artifacts.ArtifactIDSpecification))]
    return typing.Annotated[(of, *kept)] if kept else of


def _add_node(workflow: Any, entity: Any, inputs: Json) -> Any:
    """Add a node to a workflow. `add_entity` of flytekit refuses outputs that are named as attributes of its nodes."""
    manager = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    state = workflow.compilation_state
    with manager.with_context(manager.current_context().with_compilation_state(state)):
        if inspect.iscoroutinefunction(type(entity).__call__):
            importlib.import_module("flytekit.utils.asyn").run_sync(entity, **inputs)
        else:
            entity(**inputs)
    return state.nodes[-1]


def _inputs(request: Json, launch_plan: Any) -> tuple[str, list[Json]]:
    """Return the literals of the given texts, completed by defaults; and the entity's parameters."""
    interface = launch_plan.workflow.interface.inputs
    python_types = launch_plan.workflow.python_interface.inputs
    defaults = launch_plan.parameters.parameters
    fixed = launch_plan.fixed_inputs.literals
    literals = dict(fixed)
    parameters = []
    flags = {name: variable.type.simple == _BOOLEAN for name, variable in interface.items() if name not in fixed}
    _refuse_ambiguous(request["options"], flags)
    try:
        given = _texts.parse_words(request["words"], flags, request["values"])
    except _texts.WrongWords as error:
        raise Refused("input", str(error)) from error
    for name, variable in interface.items():
        if name in fixed:
            continue
        parameter = defaults.get(name)
        default = parameter.default if parameter is not None and not parameter.required else None
        click_type = _click_type(variable.type, python_types[name])
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


def _refuse_ambiguous(options: list[str], inputs: dict[str, bool]) -> None:
    """Refuse propeller's options that are also inputs and follow the workflow's name: it is unclear which is meant."""
    both = {text.split()[0].partition("=")[0]: text for text in options}
    both = {name: text for name, text in both.items() if name.lstrip("-").replace("-", "_") in inputs}
    if both:
        are, them = ("is an option", "it") if len(both) == 1 else ("are options", "them")
        raise Refused(
            "input",
            f"{' and '.join(both)} {are} of propeller as well as of the workflow: `-- {' '.join(both.values())}` gives "
            f"{them} to the workflow, and written before the name of the file, propeller takes {them}",
        )


def _click_type(literal_type: Any, python_type: Any) -> Any:
    """flytekit's converter of texts to the type; None if it has none, as for errors that failure nodes get."""
    types = importlib.import_module("flytekit.interaction.click_types")
    try:
        return types.literal_type_to_click_type(literal_type, _texts.unannotated(python_type))
    except NotImplementedError:
        return None


def _convert_item(value: Any, python_type: Any, calling: Any) -> Any:
    """An item of a list or mapping, as the input of that type: flytekit converts only those that are dataclasses."""
    types = importlib.import_module("flytekit.interaction.click_types")
    engine = importlib.import_module("flytekit.core.type_engine").TypeEngine
    converter = _click_type(engine.to_literal_type(python_type), python_type)
    members = getattr(converter, "_types", [converter])  # of a union
    known = (types.DurationParamType, types.DateTimeType, types.StructuredDatasetParamType, types.JsonParamType)
    return converter.convert(value, None, calling) if any(isinstance(one, known) for one in members) else value


def _literal(name: str, text: str, click_type: Any, variable: Any, python_type: Any, request: Json) -> Any:
    """A text as the input's literal. Files and directories that are named are uploaded to the raw output prefix."""
    click = importlib.import_module("click")
    context_manager = importlib.import_module("flytekit.core.context_manager")
    storage = importlib.import_module("flytekit.core.data_persistence")
    engine = importlib.import_module("flytekit.core.type_engine").TypeEngine
    calling = click.Context(click.Command("run"), obj=types.SimpleNamespace(is_remote=True, verbose=0))
    if click_type is None:
        raise Refused(
            "input", f"input {name!r} is of type {python_type}, for which flytekit reads no text: leave it out"
        )
    context = context_manager.FlyteContextManager.current_context()
    access = storage.FileAccessProvider(
        local_sandbox_dir=context.file_access.local_sandbox_dir,
        raw_output_prefix=request["raw_output_prefix"],
        data_config=context.file_access.data_config,
    )
    try:
        with context_manager.FlyteContextManager.with_context(context.with_file_access(access)) as uploading:
            value = _texts.early_value(text, python_type)
            if value is None:
                value = click_type.convert(text, None, calling)
                value = _texts.fitting(value, python_type, lambda one, type_: _convert_item(one, type_, calling))
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
    own_answer = _time_limit.Answer(request["answer"])
    if request["limit"]:
        _time_limit.end_in(request["limit"], own_answer, _user_frames)
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for the life of the process
    sys.stdout.flush()
    os.dup2(2, 1)  # output of the user's module is not part of the answer
    try:
        reply = answer(request)
    except Refused as refused:
        reply = {"error": {"what": refused.what, "message": str(refused), "detail": refused.detail}}
    own_answer.write(reply)


if __name__ == "__main__":
    main()
