"""Every setting, in frozen sections, each with the reason for its default.

Units are in the docstrings. Options of a room of the library stand in that room, beside what they configure, and
`Settings` gathers them; those of the FlyteWorkflow controller and of the embedded cluster stand here: the first are
shared by its rooms, and importing the second would bring an API server into a controller's memory. A section is handed
to the room that it configures; no room reads another's. Commands read settings from the file that `--config` names,
overridden by the environment (`PROPELLER_SECTION__FIELD`), and refuse unknown names, so that a typo never silently
falls back to a default.
"""

from __future__ import annotations

import msgspec

from propeller.informers._options import InformerOptions
from propeller.kube._options import ClientOptions
from propeller.reconcile._options import ElectionOptions, QueueOptions, WatchdogOptions
from propeller.storage._options import StorageOptions
from propeller.telemetry._options import MetricsOptions
from propeller.workflow._options import AttemptOptions


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an execution's status is written. Between two writes its pods are the record of its progress."""

    max_lag: float = 2.0
    """Seconds. At most this long until a finished node is in the status, while few executions run. People watch status,
    so not much more; each write costs the API server 2-5 ms, so not much less: once a second it would be half of all
    that nodes of a second cost."""

    progress_rate: float = 10.0
    """Statuses a second, of all executions together, that say only how far they have come: where more would be due,
    each is written more rarely. Nobody watches thousands, and the API server has better to do. Ends do not wait.
    """

    longest_lag: float = 30.0
    """Seconds. However many executions run, a status is not older."""

    pace: int = 32 * 1024
    """Bytes of encoded status a second: the larger a status, the rarer it is written, so that what an execution writes
    grows with its time and not with its time times its size.
    """

    budget: int = 256 * 1024
    """Bytes of the encoded status. etcd refuses requests over 1.5 MiB; a sixth of it keeps watches and lists cheap."""

    def __post_init__(self) -> None:
        for field in ("pace", "progress_rate", "budget"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be over 0, and is {getattr(self, field)}: no status would be written")


class Controller(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the FlyteWorkflow controller works."""

    ttl: float = 23 * 3600.0
    """Seconds that an ended workflow stays in the cluster, with its pods; 0 for ever. FlytePropeller's 23 hours: long
    enough to look at what failed yesterday, and what stays fills etcd and every cache.
    """

    idle: float = 300.0
    """Seconds without news after which an execution leaves memory; 0: never. Its plan, its status and its pods, which
    are cached anyway, bring it back with the next news or timer. That costs what loading it at a start does, so it is
    longer where an execution has many nodes: one more `idle` for each thousand.
    """

    stop_margin: float = 30.0
    """Seconds beyond its grace period until a pod that was told to stop, and is still there, is taken for lost with its
    machine: until then no further attempt of its task begins. The kubelet needs some seconds more than the grace to
    kill, clean up and report.
    """

    effects_at_once: int = 64
    """Launches, reads and writes under way at once. More does not help: the API server is the wall, and queues them."""

    inline_effects: int = 16
    """Effects that one reconcile runs itself if they need no waiting: about 1 ms of the loop. The rest go to the pool
    of `effects_at_once`.
    """

    event_delay: float = 0.1
    """Seconds that events may wait on which nothing depends (a pod was launched, it runs): most pods have more to tell
    by then, and one reconcile handles it all.
    """

    def __post_init__(self) -> None:
        if self.effects_at_once < 1:
            raise ValueError(
                f"effects_at_once must be at least 1, and is {self.effects_at_once}: no pod would be created"
            )
        if self.inline_effects < 0 or not self.event_delay >= 0:
            raise ValueError(
                f"inline_effects and event_delay must be 0 or more; they are {self.inline_effects} and "
                f"{self.event_delay}"
            )


class Effects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How effects (reads and writes of blobs, launches) are tried again whose error may pass."""

    retry_budget: float = 3600.0
    """Seconds of pauses after which such an error fails the effect's node, by the system's fault: longer than most
    outages of an object store. What concerns a pod that exists (to follow it, to stop it) is tried until the API server
    answers, and allows it.
    """

    backoff: float = 0.25
    """Seconds before the second try; doubles."""

    backoff_cap: float = 16.0
    """Seconds. A store that is back is noticed within as many."""

    quota_retry: float = 5.0
    """Seconds before a pod that a resource quota refused is asked for again, if the server named no time. Quotas are
    freed by pods that end, which take minutes.
    """

    storage_retry: float = 5.0
    """Seconds before a launch whose inputs could not be read or written is tried again."""

    def __post_init__(self) -> None:
        if not 0 < self.backoff <= self.backoff_cap < float("inf"):
            raise ValueError(
                f"backoff must be over 0 and at most backoff_cap; they are {self.backoff} and {self.backoff_cap}"
            )
        if not self.retry_budget >= 0 or not self.quota_retry >= 0.1 or not self.storage_retry >= 0.1:
            raise ValueError(
                f"retry_budget must be 0 or more, quota_retry and storage_retry at least 0.1; they are "
                f"{self.retry_budget}, {self.quota_retry} and {self.storage_retry}"
            )


class Launches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pods are asked for whose create the platform refuses: RBAC, a policy, an admission webhook that denies, is
    down or late (docs/refusals.md). No attempt and no retry is used up meanwhile.
    """

    pause: float = 1.0
    """Seconds before the second try, more or less by a quarter; doubles. What is mended in seconds is gone on with in
    seconds."""

    pause_cap: float = 60.0
    """Seconds. Of all the pods of one task in one namespace one try a minute is no load, and a minute after hours of
    waiting is soon enough."""

    limit: float = 24 * 3600.0
    """Seconds since the first of such refusals in a row after which the node fails, by the system's fault and without
    another attempt; 0 to wait for ever. A day outlasts a roll-out that went wrong at night, and what nobody has allowed
    by then should be seen as failed.
    """

    def __post_init__(self) -> None:
        if not 0 < self.pause <= self.pause_cap < float("inf"):
            raise ValueError(f"pause must be over 0 and at most pause_cap; they are {self.pause} and {self.pause_cap}")
        if not self.limit >= 0:
            raise ValueError(f"limit must be 0 or more, and is {self.limit}")


class Kubelet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the embedded kubelet runs pods as processes of this machine."""

    max_pods: int = 0
    """Pods at once; the others wait in order. 0 means twice the cores, at least 4: a task waits for storage and
    start-up about as long as it computes, so that twice the cores keeps them busy, while more would only cost memory.
    """

    python: str = ""
    """Path of the interpreter that `python`, `pyflyte-execute` and their kin resolve to. Empty: the kubelet's own."""

    project: str = ""
    """Directory whose modules tasks find first. A container without a workingDir starts in a private copy of it (small
    files; the rest are links), as if it was in the image. Empty: a private empty directory.
    """

    logs: str = ""
    """Directory for the logs of containers, as POD.log or POD.CONTAINER.log, which stay there. Empty: with the pod."""

    inherit_env: tuple[str, ...] = ("LANG", "LC_ALL", "TZ", "USER", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
    """Names of our own variables that containers see: what a process needs to behave as at a prompt, no credentials."""

    zygote: bool = True
    """Fork Python programs from a process that has imported `preload` already: 0.02 s a task in the place of 1-2 s."""

    preload: tuple[str, ...] = ("flytekit", "flytekit.bin.entrypoint")
    """Modules, or paths of Python files, that the forking process imports. Missing ones turn forking off, with one
    warning that says so.
    """

    preload_tasks: bool = True
    """Fork a task from a process that has imported its module too. Spares imports as heavy as pandas for each task;
    turn it off (for a pod: annotation `propeller.embedded/preload: "false"`) where each task must import its module
    itself.
    """

    tasks_per_process: int = 100
    """Small tasks of one module that a process may run one after another, as long as none leaves anything behind that
    the next would notice (docs/differences.md). A fork costs several times what a task of some milliseconds does. 1: a
    process for each task.
    """

    idle_processes: int = 4
    """Forking processes with a task's module that are kept, least recently used out. Each holds its module's memory."""

    memory_interval: float = 0.25
    """Seconds between two looks at memory and logs: 0.1 ms a container each. Python seldom grows by 1 GB in less."""

    termination_grace: float = 30.0
    """Seconds between SIGTERM and SIGKILL where the pod names none. The API server's default."""

    shutdown_grace: float = 2.0
    """Seconds that running pods have when the kubelet itself stops: somebody waits at a prompt."""

    log_bytes: int = 16 * 1024 * 1024
    """Bytes of a log file before it starts again; one older file is kept. The real kubelet's 10 Mi, rounded up."""

    status_delay: float = 0.05
    """Seconds that news of a pod may wait to be merged with what follows. A pod that ends within it costs one request
    less; nobody sees a twentieth of a second. The end of a pod never waits."""

    unschedulable_after: float = 1.0
    """Seconds until a pod that waits for room is told so: most get room sooner, and each telling is a request."""

    events: bool = True
    """Whether what happens to pods is written as Kubernetes Events too, for `kubectl describe`: some five requests a
    pod, behind its own. `propeller run` leaves them off unless it serves its cluster, as nobody could read them.
    """

    retry: float = 1.0
    """Seconds until a container that lacks a ConfigMap or Secret, or a failed request, is tried again; requests double
    it.
    """

    restart_backoff: float = 1.0
    """Seconds before a container is restarted; doubles up to its cap. Upstream's 10 is for nodes with hundreds of pods.
    """

    restart_backoff_cap: float = 300.0
    """Seconds. Upstream's."""

    heartbeat: float = 10.0
    """Seconds between two reports that the node is ready; a controller manager gives a node up after 40-50."""


class ApiServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the embedded API server behaves. What kube-apiserver fixes is fixed here, too, and no setting."""

    history_changes: int = 20_000
    """Changes of each kind that watches and pages can go back to. kube-apiserver keeps 100 to 100,000, by how fast they
    come; a reader that is a second behind at 10,000 changes a second still resumes.
    """

    history_bytes: int = 64 * 1024 * 1024
    """Bytes of each kind's history, if that is less: a workflow's object may be a thousand times a lease's."""

    bookmark_interval: float = 60.0
    """Seconds between two bookmarks of a watch, less up to a quarter. kube-apiserver's minute; readers take a stream
    for dead after one and a half.
    """

    event_ttl: float = 3600.0
    """Seconds after which an event is deleted. kube-apiserver's --event-ttl."""

    connections: int = 256
    """At once over HTTP. kubectl and a controller take some ten each; a process has 1024 descriptors by default. One
    more makes the one go that has waited for longest without a request.
    """

    max_in_flight: int = 0
    """Requests at once, watches apart, beyond which the next is answered with 429. 0 means no limit: within one process
    nothing is gained by one, but for tests of those who must live with it.
    """

    retry_after: int = 1
    """Seconds that a refused request is told to wait. kube-apiserver's."""


class Pods(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tasks' pods may ask of the platform (docs/security.md). A task's pod comes from whoever writes workflows, or
    from a running dynamic task: without a policy both have the rights that the controller has to create pods. The
    defaults are the Baseline profile of Kubernetes' Pod Security Standards, and the execution's own service account.

    Lists of names take patterns: `team-*`, or `*` for any.
    """

    privileged: bool = False
    """Whether containers may be privileged, or HostProcess containers on Windows: each is root on its machine."""

    host_namespaces: bool = False
    """Whether pods may have the machine's network, processes, IPC and ports, and probes and hooks that the kubelet
    sends to other hosts."""

    host_paths: tuple[str, ...] = ()
    """Directories of the machine below which `hostPath` volumes may be, such as /data/shared. Links in them lead
    anywhere; `/` is the kubelet's own credentials."""

    volumes: tuple[str, ...] = (
        "configMap",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
    """Kinds of volumes besides `hostPath`. Others (`csi`, `nfs`, `iscsi`, ...) are mounted with the machine's rights,
    from wherever the task says."""

    capabilities: tuple[str, ...] = (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
    """Capabilities that containers may add: what container runtimes give by themselves. Others reach the machine."""

    sysctls: tuple[str, ...] = (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
    """Kernel parameters that pods may set: those that concern the pod alone."""

    unconfined: bool = False
    """Whether containers may go without seccomp or AppArmor profile, and see all of /proc."""

    selinux_options: bool = False
    """Whether containers may choose SELinux users, roles and types beyond those of containers."""

    service_accounts: tuple[str, ...] = ()
    """Accounts that a task's pod may name besides the execution's own (`default`, if that has none): whoever may use an
    account has its rights."""

    secrets: tuple[str, ...] = ("*",)
    """Secrets that volumes, variables and image pulls may name. All of the namespace: tasks are given theirs that way,
    and a namespace is Kubernetes' own border for them. Narrow it if strangers share one."""

    runtime_classes: tuple[str, ...] = ("*",)
    """All, since GPUs have one. Narrow it if one of the cluster's isolates less than its default."""

    schedulers: tuple[str, ...] = ("*",)
    """All: batch schedulers are what tasks use."""

    priority_classes: tuple[str, ...] = ("*",)
    """Those that begin with `system-` have to be listed by such a pattern: they drive out whatever else runs."""

    control_plane: bool = False
    """Whether pods may tolerate the taints of control plane machines, or all taints (a toleration without a key)."""

    node_name: bool = False
    """Whether pods may choose a machine by `nodeName`, past the scheduler and past taints."""

    fields: tuple[str, ...] = ()
    """Fields of pods, containers and security contexts that this version does not know, and lets through unchecked."""


class Events(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kubernetes Events on FlyteWorkflows. They are for people who type `kubectl describe`, and cost the API server a
    request each: in a burst, one is sent for ten executions that end, or `burst`, if that is more.
    """

    enabled: bool = True
    """Whether `propeller controller` sends any. It needs the right to create and patch events."""

    delay: float = 1.0
    """Seconds that an event waits for others of the same execution and reason, which are merged with it."""

    burst: int = 5
    """Events at once; the last half of them are warnings only. A handful of executions at a time is told of in full."""

    pause: float = 10.0
    """Seconds after which one more may be sent, up to `burst`: six a minute, which no API server feels."""

    def __post_init__(self) -> None:
        if self.burst < 1 or not self.pause > 0 or not self.delay >= 0.1:
            raise ValueError(
                f"burst must be at least 1, pause over 0 and delay at least 0.1; they are {self.burst}, {self.pause} "
                f"and {self.delay}"
            )


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All sections."""

    client: ClientOptions = ClientOptions()
    informers: InformerOptions = InformerOptions()
    queue: QueueOptions = QueueOptions()
    election: ElectionOptions = ElectionOptions()
    watchdog: WatchdogOptions = WatchdogOptions()
    checkpoint: Checkpoint = Checkpoint()
    launches: Launches = Launches()
    attempts: AttemptOptions = AttemptOptions()
    effects: Effects = Effects()
    pods: Pods = Pods()
    storage: StorageOptions = StorageOptions()
    controller: Controller = Controller()
    metrics: MetricsOptions = MetricsOptions()
    events: Events = Events()
    kubelet: Kubelet = Kubelet()
    api_server: ApiServer = ApiServer()
