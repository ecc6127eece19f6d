"""Which kinds there are, and what is particular to each: a new one is a strategy in `_strategies/`, a line in `_kinds`.

Upstream: k8s.io/kubernetes/pkg/registry, pkg/apis and their defaults and validation.
"""
