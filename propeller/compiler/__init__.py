"""Check and compile flytekit's output: flyteidl templates in, compiled closures and FlyteWorkflow resources out. Pure:
no I/O, no clock.
"""

from propeller.compiler._declared import find_interface_fault
from propeller.compiler._dynamic import compile_dynamic
from propeller.compiler._errors import CompileError, CompileErrors, ErrorCode
from propeller.compiler._ids import identifier_text
from propeller.compiler._json import to_json
from propeller.compiler._launch_plans import build_launch_plan, complete_launch_plan, launch_plans_of
from propeller.compiler._limits import DEFAULT_LIMITS, Limits
from propeller.compiler._literals import literal_fits
from propeller.compiler._pods import find_pod_fault
from propeller.compiler._requirements import Requirements, find_requirements, sub_workflows_of
from propeller.compiler._resource import build_resource
from propeller.compiler._tasks import compile_task
from propeller.compiler._warnings import find_warnings
from propeller.compiler._workflow import compile_workflow

__all__ = [
    "DEFAULT_LIMITS",
    "CompileError",
    "CompileErrors",
    "ErrorCode",
    "Limits",
    "Requirements",
    "build_launch_plan",
    "build_resource",
    "compile_dynamic",
    "compile_task",
    "compile_workflow",
    "complete_launch_plan",
    "find_interface_fault",
    "find_pod_fault",
    "find_requirements",
    "find_warnings",
    "identifier_text",
    "launch_plans_of",
    "literal_fits",
    "sub_workflows_of",
    "to_json",
]
