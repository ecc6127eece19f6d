"""Validation common to all kinds: OpenAPI schemas, types, names, metadata, quantities, paths.

Upstream: k8s.io/apimachinery/pkg/api/validation; k8s.io/apiextensions-apiserver/pkg/apiserver/schema.
"""
