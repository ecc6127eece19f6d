"""The pod plugin: build the pod of a task's attempt, and read its state."""

from propeller.handlers.plugins._metadata import POOLS_ANNOTATION
from propeller.handlers.plugins.pod._connector_arguments import connector_arguments
from propeller.handlers.plugins.pod._demand import Footprint, demand_of, footprint_of
from propeller.handlers.plugins.pod._ends import grace_of, has_ended, uploads
from propeller.handlers.plugins.pod._environment import item_variables
from propeller.handlers.plugins.pod._loaded import uploader_waits
from propeller.handlers.plugins.pod._parts import overlaid, replica_resources
from propeller.handlers.plugins.pod._plugin import POD, PodPlugin
from propeller.handlers.plugins.pod._pod import build_pod, pod_template
from propeller.handlers.plugins.pod._report import gone, is_alive, report
from propeller.handlers.plugins.pod._resources import task_resources
from propeller.handlers.plugins.pod._shape import PLAIN, can_be_pod, service_account, shape_of, template_name
from propeller.handlers.plugins.pod._template_variables import template_uri
from propeller.handlers.plugins.pod._trouble import Trouble, trouble_of

__all__ = [
    "PLAIN",
    "POD",
    "POOLS_ANNOTATION",
    "Footprint",
    "PodPlugin",
    "Trouble",
    "build_pod",
    "can_be_pod",
    "connector_arguments",
    "demand_of",
    "footprint_of",
    "gone",
    "grace_of",
    "has_ended",
    "is_alive",
    "item_variables",
    "overlaid",
    "pod_template",
    "replica_resources",
    "report",
    "service_account",
    "shape_of",
    "task_resources",
    "template_name",
    "template_uri",
    "trouble_of",
    "uploader_waits",
    "uploads",
]
