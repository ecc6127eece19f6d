"""Staged rollouts: a new version takes shards step by step, is judged by what it does, and goes on or back."""

from propeller.reconcile.rollouts._evidence import lacking
from propeller.reconcile.rollouts._judge import Share, Worse, by_chance, judge, late_shares
from propeller.reconcile.rollouts._options import RolloutOptions, RolloutTerms
from propeller.reconcile.rollouts._rollout import (
    Observed,
    Rollout,
    State,
    abort,
    begin,
    divisions,
    promote,
    step,
    waits_for,
)
from propeller.reconcile.rollouts._tally import Counts, Tally, decode_counts, encode_counts

__all__ = [
    "Counts",
    "Observed",
    "Rollout",
    "RolloutOptions",
    "RolloutTerms",
    "Share",
    "State",
    "Tally",
    "Worse",
    "abort",
    "begin",
    "by_chance",
    "decode_counts",
    "divisions",
    "encode_counts",
    "judge",
    "lacking",
    "late_shares",
    "promote",
    "step",
    "waits_for",
]
