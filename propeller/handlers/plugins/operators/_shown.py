"""What people see of an operator's resource: links to its dashboards, and values for the operator's templates of links.

Guarantees
    Read from the resource as it is at that moment, by who asks: the controller keeps none of it.
    A link is `http(s)://`, without a user or a control character, whatever the status says; another is left out.
Source
    The plugins of FlytePropeller 1.16 (spark.go, ray.go), which take a Spark driver's ingress alone, and make Ray's
    link from a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from propeller.config import OperatorName

Json = dict[str, Any]

_PLACE = re.compile(
    r"(https?://)?((?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?(?:/[a-z0-9._~/%:=&?#+-]{0,1000})?)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


class Shown(msgspec.Struct, frozen=True):
    """Names and URIs of links, and values of variables (`LOG_LINK_VARIABLES`)."""

    links: tuple[tuple[str, str], ...] = ()
    values: dict[str, str] = {}


def _spark(obj: Json) -> Shown:
    """The driver's UI: by its ingress if it has one, else as it is reached within the cluster."""
    status = _part(obj, "status")
    driver = _part(status, "driverInfo")
    uri = _uri(driver.get("webUIIngressAddress")) or _uri(driver.get("webUIAddress"))
    return Shown((("Spark UI", uri),) if uri else (), _values(sparkApplicationID=status.get("sparkApplicationId")))


def _ray(obj: Json) -> Shown:
    """The dashboard, as it is reached within the cluster: KubeRay names its service."""
    status = _part(obj, "status")
    uri = _uri(status.get("dashboardURL"))
    values = _values(rayClusterName=status.get("rayClusterName"), rayJobID=status.get("jobId"))
    return Shown((("Ray dashboard", uri),) if uri else (), values)


def _dask(obj: Json) -> Shown:
    """The scheduler's dashboard, as it is reached within the cluster: its service is named after the cluster."""
    named = _values(cluster=_part(obj, "status").get("clusterName"), of=_part(obj, "metadata").get("namespace"))
    if len(named) < 2:
        return Shown()
    return Shown((("Dask dashboard", f"http://{named['cluster']}-scheduler.{named['of']}.svc:8787/status"),))


_SHOWN: dict[OperatorName, Callable[[Json], Shown]] = {"dask": _dask, "ray": _ray, "spark": _spark}


def shown(task_type: OperatorName, obj: Json) -> Shown:
    """Return what there is to show of a resource; nothing if its operator has no dashboard, or it is not up yet."""
    read = _SHOWN.get(task_type)
    return Shown() if read is None else read(obj)


def _part(obj: Json, name: str) -> Json:
    found = obj.get(name)
    return found if isinstance(found, dict) else {}


def _uri(place: object) -> str:
    found = _PLACE.fullmatch(place) if isinstance(place, str) else None
    return "" if found is None else f"{found[1] or 'http://'}{found[2]}"


def _values(**given: object) -> dict[str, str]:
    return {name: value for name, value in given.items() if isinstance(value, str) and _NAME.fullmatch(value)}
