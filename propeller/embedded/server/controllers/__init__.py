"""What happens without a request: the controllers of kube-controller-manager that every cluster has, and those of
kube-apiserver itself (definitions, the lifetime of events). Each listens to the storage and works from a backlog.

Upstream: k8s.io/kubernetes/pkg/controller; k8s.io/apiextensions-apiserver/pkg/controller.
"""
