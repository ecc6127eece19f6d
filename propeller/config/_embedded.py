"""How the embedded cluster works: kubelet and API server. Units are in the docstrings."""

from __future__ import annotations

import msgspec

from propeller.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class KubeletOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the embedded kubelet runs pods as processes of this machine."""

    max_pods: NonNegativeInt = 0
    """Pods at once; the others wait in order. 0 means twice the cores, at least 4: a task waits for storage and
    start-up about as long as it computes, so that twice the cores keeps them busy, while more would only cost memory.
    """

    python: str = ""
    """Path of the interpreter that `python`, `pyflyte-execute` and their kin resolve to. Empty: the kubelet's own."""

    project: str = ""
    """Directory whose modules tasks find first. A container without a workingDir starts in a private copy of it (small
    files; the rest are links), as if it was in the image. Empty: a private empty directory.
    """

    images: dict[str, str] = {}
    """Root file systems by image, as directories. A container of such an image runs in it as in a container runtime,
    with its volumes mounted, but without isolation of network and processes (`kubelet/_sandbox.py`). Containers of
    other images run in this machine's own.
    """

    labels: dict[str, str] = {}
    """Labels of the node for node selectors, besides its name's and its operating system's."""

    schedules: bool = True
    """Whether pods without a node are run here. Turn it off if the cluster has a scheduler, such as kube-scheduler."""

    pod_addresses: bool = False
    """Whether each pod has an address of its own in 127.64.0.0/10, on which it can listen at ports that others use,
    too. Otherwise all have 127.0.0.1, where a task finds servers of this machine as well."""

    token_refresh: PositiveFloat = 0.8
    """Share of a service account token's life after which the pod gets a new one. The real kubelet's."""

    logs: str = ""
    """Directory for the logs of containers, as POD.log or POD.CONTAINER.log, which stay there. Empty: with the pod."""

    inherit_env: tuple[str, ...] = ("LANG", "LC_ALL", "TZ", "USER", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
    """Names of our own variables that containers see: those for a process to behave as at a prompt, no credentials."""

    zygote: bool = True
    """Fork Python programs from a process that has imported `preload` already: 0.02 s a task instead of 1-2 s."""

    preload: tuple[str, ...] = ("flytekit", "flytekit.bin.entrypoint")
    """Modules, or paths of Python files, that the forking process imports. Missing ones turn forking off, with one
    warning that says so.
    """

    preload_tasks: bool = True
    """Fork a task from a process that has imported its module too. Spares imports as heavy as pandas for each task;
    turn it off (for a pod: annotation `propeller.embedded/preload: "false"`) if each task must import its module
    itself.
    """

    tasks_per_process: PositiveInt = 100
    """Small tasks of one module that a process may run one after another, as long as none leaves anything behind that
    the next would notice (docs/differences.md). A fork costs several times what a task of some milliseconds does. 1: a
    process for each task.
    """

    idle_processes: NonNegativeInt = 4
    """Forking processes with a task's module that are kept, least recently used out. Each holds its module's memory."""

    memory_interval: PositiveFloat = 0.25
    """Seconds between two looks at memory and logs: 0.1 ms a container each. Python seldom grows by 1 GB in less."""

    termination_grace: NonNegativeFloat = 30.0
    """Seconds between SIGTERM and SIGKILL if the pod names none. The API server's default."""

    shutdown_grace: NonNegativeFloat = 2.0
    """Seconds that running pods have when the kubelet itself stops: a user waits at a prompt."""

    log_bytes: PositiveInt = 16 * 1024 * 1024
    """Bytes of a log file before it starts again; one older file is kept. The real kubelet's 10 Mi, rounded up."""

    status_delay: NonNegativeFloat = 0.05
    """Seconds that a pod's status may wait to be merged with the next one. A pod that ends within it costs one request
    less, and a twentieth of a second is not noticed. The end of a pod never waits."""

    unschedulable_after: NonNegativeFloat = 1.0
    """Seconds until a pod that waits for room gets the condition that says so: most get room sooner, and each condition
    is a request."""

    events: bool = True
    """Whether what happens to pods is written as Kubernetes Events too, for `kubectl describe`: some five requests a
    pod, behind its own. `propeller run` leaves them off unless it serves its cluster, as they could not be read.
    """

    retry: PositiveFloat = 1.0
    """Seconds until a container that lacks a ConfigMap or Secret, or a failed request, is tried again; requests double
    it.
    """

    restart_backoff: PositiveFloat = 1.0
    """Seconds before a container is restarted; doubles up to its cap. Upstream's 10 is for nodes with hundreds of pods.
    """

    restart_backoff_cap: PositiveFloat = 300.0
    """Seconds. Upstream's."""

    heartbeat: PositiveFloat = 10.0
    """Seconds between two reports that the node is ready; a controller manager gives a node up after 40-50."""


class ApiServerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the embedded API server behaves. Constants of kube-apiserver are constants here, too, and no settings."""

    history_changes: NonNegativeInt = 20_000
    """Changes of each kind that watches and pages can go back to. kube-apiserver keeps 100 to 100,000, by how fast they
    come; a reader that is a second behind at 10,000 changes a second still resumes.
    """

    history_bytes: NonNegativeInt = 64 * 1024 * 1024
    """Bytes of each kind's history, if that is less: a workflow's object may be a thousand times a lease's."""

    bookmark_interval: PositiveFloat = 60.0
    """Seconds between two bookmarks of a watch, less up to a quarter. kube-apiserver's minute; readers take a stream
    for dead after one and a half.
    """

    event_ttl: PositiveFloat = 3600.0
    """Seconds after which an event is deleted. kube-apiserver's --event-ttl."""

    connections: PositiveInt = 256
    """At once over HTTP. kubectl and a controller take some ten each; a process has 1024 descriptors by default. One
    more makes the one go that has waited for longest without a request.
    """

    max_in_flight: NonNegativeInt = 0
    """Requests at once, watches apart, beyond which the next is answered with 429. 0 means no limit: within one process
    one gains nothing, except for tests of clients that have to cope with it.
    """

    retry_after: NonNegativeInt = 1
    """Seconds that a refused request is told to wait. kube-apiserver's."""
