"""Tasks that run as Kubernetes Jobs: `task.py` is for those who write workflows, `plugin.py` for the controller.

Neither imports the other: a controller has no flytekit, and a laptop no controller.
"""
