"""The policy for tasks' pods."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec


class PodPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy for tasks' pods (docs/security.md). A task's pod comes from the author of a workflow, or from a
    running dynamic task: without a policy both have the controller's rights to create pods. The defaults are the
    Baseline profile of Kubernetes' Pod Security Standards, and the execution's own service account.

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
    from any source that the task names."""

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
    """Accounts that a task's pod may name besides the execution's own (`default`, if that has none): a pod has the
    rights of its account."""

    secrets: tuple[str, ...] = ("*",)
    """Secrets that volumes, variables and image pulls may name. All of the namespace: tasks are given theirs that way,
    and a namespace is Kubernetes' own border for them. Narrow it if strangers share one."""

    runtime_classes: tuple[str, ...] = ("*",)
    """All, since GPUs have one. Narrow it if one of the cluster's isolates less than its default."""

    schedulers: tuple[str, ...] = ("*",)
    """All: tasks use batch schedulers."""

    priority_classes: tuple[str, ...] = ("*",)
    """Those that begin with `system-` have to be listed by such a pattern: they preempt everything else."""

    control_plane: bool = False
    """Whether pods may tolerate the taints of control plane machines, or all taints (a toleration without a key)."""

    node_name: bool = False
    """Whether pods may choose a machine by `nodeName`, past the scheduler and past taints."""

    trusted_templates: tuple[str, ...] = ("*",)
    """Namespaces whose PodTemplates are the platform's, which this policy does not concern. All, as in FlytePropeller:
    whoever may create PodTemplates in a namespace is taken for its administrator. If authors of workflows may, list the
    platform's own namespaces: PodTemplates of others are checked as if their tasks' authors had written them."""

    fields: tuple[str, ...] = ()
    """Fields of pods, containers and security contexts that this version does not know, and lets through unchecked."""

    def trusts(self, namespace: str) -> bool:
        """Whether PodTemplates of a namespace are the platform's."""
        return any(fnmatchcase(namespace, pattern) for pattern in self.trusted_templates)
