"""Strangers' data against the whole controller on a real API server: resources, statuses, annotations and blobs."""
