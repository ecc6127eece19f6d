"""The clusters that executions run in: how each is reached, and whether it is well."""

from propeller.clusters._circuit import Circuit, Reading, advance
from propeller.clusters._connector import Connector, Opener, control_identity
from propeller.clusters._options import ClusterOptions

__all__ = ["Circuit", "ClusterOptions", "Connector", "Opener", "Reading", "advance", "control_identity"]
