"""Work without a request: the controllers of kube-controller-manager that every cluster has, and those of
kube-apiserver itself (CRDs, expiry of Events). Each listens to the storage and works from a backlog.

Upstream: k8s.io/kubernetes/pkg/controller; k8s.io/apiextensions-apiserver/pkg/controller.
"""
