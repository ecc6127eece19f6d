"""The four patches, and who owns which field.

Upstream: k8s.io/apimachinery/pkg/util/strategicpatch; sigs.k8s.io/structured-merge-diff; evanphx/json-patch.
"""
