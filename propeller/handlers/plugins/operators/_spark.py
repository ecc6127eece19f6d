"""SparkApplications of the Spark operator (sparkoperator.k8s.io/v1beta2)."""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.plugins import spark_pb2

from propeller.errors import Invalid
from propeller.handlers.plugins.operators._operator import Json, Operator, Reading, Task, failed, named, runs, waits
from propeller.kube import KubeObject, Resource
from propeller.workflow import AttemptPhase

SUBMISSIONS = 14
"""Times that the operator submits again what a cluster refuses: Flyte's."""

MAX_EXECUTORS = 5
"""Names of executors in a message."""

_TYPES = {
    spark_pb2.SparkApplication.PYTHON: "Python",
    spark_pb2.SparkApplication.JAVA: "Java",
    spark_pb2.SparkApplication.SCALA: "Scala",
    spark_pb2.SparkApplication.R: "R",
}
_FROM_POD = ("affinity", "tolerations", "schedulerName", "nodeSelector", "hostNetwork", "dnsConfig")


class AppState(msgspec.Struct, frozen=True, rename="camel", gc=False):
    state: str = ""
    error_message: str = ""


class SparkStatus(msgspec.Struct, frozen=True, rename="camel"):
    application_state: AppState = AppState()
    executor_state: dict[str, str] | None = None


class SparkApplication(KubeObject, frozen=True, rename="camel"):
    status: SparkStatus = SparkStatus()


def read(application: SparkApplication) -> Reading | None:
    found = application.status.application_state
    match found.state:
        case "":
            return waits("its operator has not looked at it yet")
        case "SUBMITTED" | "PENDING_SUBMISSION":
            return waits("it is submitted")
        case "SUSPENDED" | "SUSPENDING" | "RESUMING":
            return waits("it is suspended", is_held=True)
        case "SUBMISSION_FAILED":
            return failed("the Spark application could not be submitted", found.error_message)
        case "FAILED":
            return failed("the Spark application failed", found.error_message, _lost(application.status))
        case "COMPLETED":
            return Reading(AttemptPhase.SUCCEEDED)
    return runs(found.state)


def _lost(status: SparkStatus) -> str:
    """Name executors that have failed: their driver deletes their pods, unless its configuration says otherwise."""
    names = sorted(name for name, state in (status.executor_state or {}).items() if state == "FAILED")
    more = f" and {len(names) - MAX_EXECUTORS} more" if len(names) > MAX_EXECUTORS else ""
    return f"executors that failed: {', '.join(names[:MAX_EXECUTORS])}{more}" if names else ""


def build(task: Task) -> Json:
    """The spec of a SparkApplication: the task's pod as driver and executors, sized by the Spark configuration."""
    custom = task.custom(spark_pb2.SparkJob)
    if not custom.mainApplicationFile and not custom.mainClass:
        raise Invalid("a Spark task needs its main_application_file or main_class, and has neither")
    for field in ("driverPod", "executorPod"):
        if custom.HasField(field):
            raise Invalid(f"{field} of a Spark task is not supported: use the task's pod_template")
    configuration = _configuration(task, custom)
    spec: Json = {
        "sparkVersion": "",  # the type requires it, and the operator reads it for templates of pods alone
        "type": _TYPES.get(custom.applicationType, "Python"),
        "image": task.primary["image"],
        "arguments": task.primary["args"],
        "sparkConf": configuration,
        "hadoopConf": dict(custom.hadoopConf),
        "restartPolicy": {"type": "OnFailure", "onSubmissionFailureRetries": SUBMISSIONS},
        "driver": _pod(task, configuration, "driver"),
        "executor": _pod(task, configuration, "executor"),
    }
    if "spark.batchScheduler" in configuration:
        spec["batchScheduler"] = configuration["spark.batchScheduler"]
    if custom.mainApplicationFile:
        spec["mainApplicationFile"] = custom.mainApplicationFile
    if custom.mainClass:
        spec["mainClass"] = custom.mainClass
    return spec


def _configuration(task: Task, custom: spark_pb2.SparkJob) -> dict[str, str]:
    found: dict[str, str] = {}
    if custom.executorPath:
        found["spark.pyspark.python"] = found["spark.pyspark.driver.python"] = custom.executorPath
    found |= custom.sparkConf
    for part in ("driver", "executor"):
        limit, request = f"spark.kubernetes.{part}.limit.cores", f"spark.kubernetes.{part}.request.cores"
        if not found.get(limit) and (cores := found.get(request) or found.get(f"spark.{part}.cores")):
            found[limit] = cores
    found["spark.kubernetes.executor.podNamePrefix"] = task.name
    return found


def _pod(task: Task, configuration: dict[str, str], part: str) -> Json:
    """The pods of a part. The operator knows the fields of pods by names of its own."""
    metadata, spec = task.template["metadata"], task.template["spec"]
    found: dict[str, Any] = {
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "image": task.primary["image"],
        "env": task.primary["env"],
        **{field: spec[field] for field in _FROM_POD if spec.get(field)},
    }
    if spec.get("securityContext"):
        found["podSecurityContext"] = spec["securityContext"]
    if part == "driver":
        found["serviceAccount"] = spec.get("serviceAccountName") or "spark"
    if cores := _number(configuration.get(f"spark.{part}.cores", "")):
        found["cores"] = cores
    if part == "executor" and (instances := _number(configuration.get("spark.executor.instances", ""))):
        found["instances"] = instances
    if memory := configuration.get(f"spark.{part}.memory"):
        found["memory"] = memory
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


SPARK = Operator(
    "spark",
    Resource(
        group="sparkoperator.k8s.io",
        version="v1beta2",
        kind="SparkApplication",
        plural="sparkapplications",
        type=SparkApplication,
    ),
    build,
    read,
    named("sparkoperator.k8s.io/app-name"),  # executors are owned by their driver
)
