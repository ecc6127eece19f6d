"""The four kinds of patches, and managed fields.

Upstream: k8s.io/apimachinery/pkg/util/strategicpatch; sigs.k8s.io/structured-merge-diff; evanphx/json-patch.
"""
