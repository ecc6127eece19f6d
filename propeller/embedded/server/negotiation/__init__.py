"""What a request asks for and in which form, its body as an object, and objects as bodies, tables and metadata.

Upstream: k8s.io/apiserver/pkg/endpoints/handlers/negotiation, pkg/endpoints/request; apimachinery's serializers.
"""
