"""The verbs on objects: create, update, patch, delete, get, list, watch, scale.

Upstream: k8s.io/apiserver/pkg/registry/generic/registry, pkg/endpoints/handlers.
"""
