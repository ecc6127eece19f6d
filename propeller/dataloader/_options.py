"""Options of raw containers: the containers that bring their files, and how much these may be. Units are in the
docstrings.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from propeller.bounds import NonNegativeInt, PositiveFloat


class RawContainerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `propeller dataloader` runs beside raw containers: FlytePropeller's `plugins.k8s.co-pilot`."""

    image: str = ""
    """Image of `propeller dataloader`: the controller's own, which the Helm chart and `propeller install` fill in.
    Empty: raw containers with inputs or outputs in files are refused on a cluster; `propeller run` needs no image.
    """

    cpu: str = "500m"
    """CPU that each of the two containers requests, and is limited to. FlytePropeller's default."""

    memory: str = "256Mi"
    """Memory that each of the two containers requests, and is limited to. Four files are copied at once, 16 MiB of each
    are in memory, and the process itself has about 100 MiB.
    """

    user: Annotated[int, msgspec.Meta(ge=-1)] = -1
    """Number of the user whom both containers run as. -1: as the program's pod or container says, otherwise the
    image's own, 65532. 0 lets them read outputs that a program has closed to other users; 1337 passes by an Istio proxy
    that has not started while inputs are downloaded.
    """

    input_path: str = "/var/flyte/inputs"
    """Directory of inputs of tasks that name none. FlytePropeller's default."""

    output_path: str = "/var/flyte/outputs"
    """Directory of outputs of tasks that name none. FlytePropeller's default."""

    download_timeout: PositiveFloat = 3600.0
    """Seconds until all inputs are downloaded, or the attempt fails. FlytePropeller's default."""

    upload_timeout: PositiveFloat = 3600.0
    """Seconds until all outputs are uploaded after the program's end, or the attempt fails; also the pod's grace
    period, which is how long Kubernetes lets the uploader work. FlytePropeller's default.
    """

    max_bytes: NonNegativeInt = 100 * 1024**3
    """Bytes of all inputs, and of all outputs. More than most nodes have; the ephemeral storage limit is nearer."""

    max_files: NonNegativeInt = 100_000
    """Files of all inputs, and of all outputs. Each costs a request to the object store."""

    max_depth: NonNegativeInt = 32
    """Directories within each other in an input or output."""

    max_value_bytes: NonNegativeInt = 1024 * 1024
    """Bytes of the file of a value that is no blob (a number, a text, a struct). FlyteCopilot takes 1024; all values
    of a task go into one document, which the controller reads."""
