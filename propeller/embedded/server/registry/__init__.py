"""The kinds, and the rules of each: a new kind is a strategy in `_strategies/` and a line in `_kinds`.

Upstream: k8s.io/kubernetes/pkg/registry, pkg/apis and their defaults and validation.
"""
