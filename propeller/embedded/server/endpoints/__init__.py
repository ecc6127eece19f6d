"""From a request to its answer: which verb of which kind or which document, in memory and over HTTP; what can be asked
of a pod beside reading and writing it.

Upstream: k8s.io/apiserver/pkg/endpoints, pkg/server; the subresources of k8s.io/kubernetes/pkg/registry/core/pod/rest.
"""
