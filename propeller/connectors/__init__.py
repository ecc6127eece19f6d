"""Flyte's connectors (formerly agents): services that run tasks elsewhere and speak flyteidl's `agent.proto` by gRPC.

A `Channel` speaks with one service, a `Directory` knows which service runs tasks of which type, as they list them
themselves, and a `Poller` looks at many jobs in turn. grpcio is imported when the first channel opens.
"""

from propeller.connectors._channel import Channel, open_channel
from propeller.connectors._directory import Category, Directory, Nobody, Service, Unknown
from propeller.connectors._fence import MayAct, always, fenced
from propeller.connectors._job_logs import JobLog, Metric, read_job_log, read_job_metrics
from propeller.connectors._options import ConnectorOptions, ConnectorService
from propeller.connectors._poller import Poller

__all__ = [
    "Category",
    "Channel",
    "ConnectorOptions",
    "ConnectorService",
    "Directory",
    "JobLog",
    "MayAct",
    "Metric",
    "Nobody",
    "Poller",
    "Service",
    "Unknown",
    "always",
    "fenced",
    "open_channel",
    "read_job_log",
    "read_job_metrics",
]
