"""What must come of the tasks of `flows`: when their jobs succeed, fail, and are given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class Expected(msgspec.Struct, frozen=True):
    """One task."""

    client: str
    """What its connector calls: its name in `fakes`."""
    outputs: Callable[[Any], bool]
    """Whether these are its outputs, as JSON; None if it has none."""
    failure: str = ""
    """Words of the message of its job when that fails; "" if there is no job whose message says it."""
    link: str = ""
    """The beginning of a log link."""
    is_sync: bool = False
    looks_fail: bool = False
    """Whether its connector cannot say what became of a job."""


def is_squared(found: Any) -> bool:
    return bool(found == {"o0": 16})


def nothing(found: Any) -> bool:
    return not found


def has(*words: str) -> Callable[[Any], bool]:
    return lambda found: all(word in str(found) for word in words)


CONSOLE = "https://console.cloud.google.com/bigquery?project=project&j=bq:EU:"
SNOWFLAKE = "https://app.snowflake.com/account/org/#/compute/history/queries/"
DATABRICKS = "https://account.cloud.databricks.com/#job/7/run/"

EXPECTED: Mapping[str, Expected] = {
    "bigquery": Expected("bigquery", has("bq://project:results."), "no such table", CONSOLE),
    "snowflake": Expected("snowflake", has("results"), link=SNOWFLAKE),
    "on_databricks": Expected("databricks", is_squared, "the driver has failed", DATABRICKS),
    # its looks fail (`NameError: logger`, flytekit 1.16.31): the outputs that the job has written prove its success
    "on_slurm": Expected("slurm", is_squared, looks_fail=True),
    "shell": Expected("slurm", nothing, "what it has printed"),
    "script": Expected("slurm", nothing, "what it has printed"),
    "boto": Expected("boto", has("arn:model-"), is_sync=True),
    "endpoint": Expected("sagemaker", has("arn:endpoint"), "no capacity"),
    "training": Expected("sagemaker", has("s3://bucket/model.tar.gz"), "AlgorithmError"),
    # its task declares `name`, and its connector returns `data_service_name`
    "service": Expected("kubernetes", has("data_service_name")),
    "on_mmcloud": Expected("mmcloud", is_squared),
    # runs only if raw data goes to a remote store, and says so
    "on_perian": Expected("perian", nothing, "what it has printed"),
    "perian_container": Expected("perian", nothing, "what it has printed"),
    "batch": Expected("openai", has("file-1", "completed"), "the file is empty"),
    "chatgpt": Expected("chatgpt", has("hello!"), is_sync=True),
    "webhook": Expected("webhook", has("heard"), is_sync=True),
}
"""By name of the task."""
