"""Lineage as OpenLineage events: what ran, from which data to which, to a file or over HTTP."""

from propeller.lineage._datasets import datasets_of
from propeller.lineage._emitter import Emitter
from propeller.lineage._events import Job, Report, State, encode_event, run_id
from propeller.lineage._options import LineageOptions

__all__ = ["Emitter", "Job", "LineageOptions", "Report", "State", "datasets_of", "encode_event", "run_id"]
