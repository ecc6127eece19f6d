"""Parse requests: target, options, content type and body; render objects as bodies, tables and metadata.

Upstream: k8s.io/apiserver/pkg/endpoints/handlers/negotiation, pkg/endpoints/request; apimachinery's serializers.
"""
