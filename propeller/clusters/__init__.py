"""The clusters that executions run in: how each is reached, and whether it is well."""

from propeller.clusters._circuit import Circuit, Reading, advance
from propeller.clusters._connector import IDENTITY_NAMESPACE, Connector, Opener, control_identity
from propeller.clusters._options import ClusterOptions

__all__ = [
    "IDENTITY_NAMESPACE",
    "Circuit",
    "ClusterOptions",
    "Connector",
    "Opener",
    "Reading",
    "advance",
    "control_identity",
]
