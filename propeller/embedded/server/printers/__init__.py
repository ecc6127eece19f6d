"""The columns of `kubectl get`.

Upstream: k8s.io/kubernetes/pkg/printers/internalversion.
"""
