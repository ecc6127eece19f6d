"""On which cluster work runs: a routing table, checked as a whole, and the decision that it makes for one execution.

`decide` is pure: table, subject and the clusters' states in, a placement or a reason to wait out.
"""

from propeller.routing._decide import States, decide
from propeller.routing._declared import (
    Access,
    Capacity,
    Cluster,
    Declaration,
    Match,
    Pool,
    Rule,
    SecretReference,
    State,
)
from propeller.routing._definition import routing_table_crd
from propeller.routing._expectations import (
    Difference,
    ExecutionText,
    Expectation,
    TaskText,
    differences,
    parse_expectations,
    parse_running,
    subject_of,
)
from propeller.routing._explain import Candidate, Explanation, RuleVerdict, explain
from propeller.routing._kind import RAW_ROUTING_TABLES, ROUTING_TABLES, RoutingTable
from propeller.routing._live import LiveTable
from propeller.routing._options import RoutingOptions
from propeller.routing._parse import parse_table, table_of
from propeller.routing._problems import InvalidTable, Problem
from propeller.routing._rendezvous import Rendezvous
from propeller.routing._simulate import Move, Running, Share, Simulation, simulate
from propeller.routing._subject import ClusterState, Placement, Subject, Task, Waiting
from propeller.routing._table import Table

__all__ = [
    "RAW_ROUTING_TABLES",
    "ROUTING_TABLES",
    "Access",
    "Candidate",
    "Capacity",
    "Cluster",
    "ClusterState",
    "Declaration",
    "Difference",
    "ExecutionText",
    "Expectation",
    "Explanation",
    "InvalidTable",
    "LiveTable",
    "Match",
    "Move",
    "Placement",
    "Pool",
    "Problem",
    "Rendezvous",
    "RoutingOptions",
    "RoutingTable",
    "Rule",
    "RuleVerdict",
    "Running",
    "SecretReference",
    "Share",
    "Simulation",
    "State",
    "States",
    "Subject",
    "Table",
    "Task",
    "TaskText",
    "Waiting",
    "decide",
    "differences",
    "explain",
    "parse_expectations",
    "parse_running",
    "parse_table",
    "routing_table_crd",
    "simulate",
    "subject_of",
    "table_of",
]
