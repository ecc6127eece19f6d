"""Tasks that run as Kubernetes Jobs: `task.py` is for workflow authors, `plugin.py` for the controller.

Neither imports the other: a controller does not need flytekit, and workflow authors do not need propeller.
"""
