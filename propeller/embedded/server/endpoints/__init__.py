"""Endpoints: route a request to the verb of a kind or to a document, in memory and over HTTP; subresources of pods.

Upstream: k8s.io/apiserver/pkg/endpoints, pkg/server; the subresources of k8s.io/kubernetes/pkg/registry/core/pod/rest.
"""
