"""Observability of a running process: metrics for Prometheus, logs with fields and without secrets, health probes."""

from propeller.telemetry._catalog import CatalogMetrics
from propeller.telemetry._causes import Causes
from propeller.telemetry._clusters import ClusterMetrics
from propeller.telemetry._executions import ExecutionMetrics
from propeller.telemetry._families import Reader
from propeller.telemetry._launches import LaunchMetrics
from propeller.telemetry._lineage import LineageMetrics
from propeller.telemetry._log_links import TaskLog, pod_values, task_logs
from propeller.telemetry._logs import LOG_LEVELS, LogFormat, configure_logs
from propeller.telemetry._metrics import Metrics
from propeller.telemetry._options import LogLink, LogLinkOptions, MetricsOptions
from propeller.telemetry._pools import PoolMetrics
from propeller.telemetry._serve import Page, serve_metrics

__all__ = [
    "LOG_LEVELS",
    "CatalogMetrics",
    "Causes",
    "ClusterMetrics",
    "ExecutionMetrics",
    "LaunchMetrics",
    "LineageMetrics",
    "LogFormat",
    "LogLink",
    "LogLinkOptions",
    "Metrics",
    "MetricsOptions",
    "Page",
    "PoolMetrics",
    "Reader",
    "TaskLog",
    "configure_logs",
    "pod_values",
    "serve_metrics",
    "task_logs",
]
