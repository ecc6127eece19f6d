"""Task plugins for Kubeflow's training operator (v1): the tasks of flytekitplugins-kfpytorch and -kftensorflow."""

from propeller_training_operator._plugin import PYTORCH, TENSORFLOW

__all__ = ["PYTORCH", "TENSORFLOW"]
