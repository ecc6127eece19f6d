"""Shards and placements as a small model: who may act for an execution, and in which cluster its attempts run."""
