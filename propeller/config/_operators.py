"""Tasks that operators run."""

from __future__ import annotations

from typing import Literal

import msgspec

OperatorName = Literal["dask", "kubernetes-job", "mpi", "pytorch", "ray", "spark", "tensorflow"]


class OperatorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Task types that operators in the cluster run, as custom resources: FlytePropeller's `enabled-plugins`."""

    enabled: tuple[OperatorName, ...] = ()
    """Task types that operators run: dask, kubernetes-job, mpi, pytorch, ray, spark, tensorflow. None by default: the
    controller watches the resources of each, and needs the rights for it (`propeller install --config FILE` grants
    them, and so does the chart). A task of a type that is not enabled, and that no plugin and no connector runs, is a
    single pod, as in FlytePropeller; without a container it fails.
    """
