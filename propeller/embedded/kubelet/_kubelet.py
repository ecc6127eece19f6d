"""The kubelet: watches the cluster's pods, runs those of its node, binds unscheduled ones, and ends them.

Guarantees
    At most `capacity.pods` pods run at once; the others wait in order of arrival.
    A pod is started at most once. A pod of this node that ran under an earlier kubelet is reported as Failed, and never
    run again. A deleted pod is removed from the API server only when its processes are gone, and only if it is still
    the same pod (uid). When the context exits, also by an error or cancellation, no process is left.
Assumptions
    It is its cluster's only scheduler for pods of the default scheduler: selectors, affinity, taints and requests are
    not considered. `workdir` is its alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from propeller import config
from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.embedded.kubelet._api import Api
from propeller.embedded.kubelet._events import SCHEDULER, Events, NoEvents, Recorder, node_reference, pod_reference
from propeller.embedded.kubelet._home import Home, opened_home, remove
from propeller.embedded.kubelet._log_reader import LogQuery, read_log
from propeller.embedded.kubelet._node import Capacity, address_of, machine_capacity, node_object
from propeller.embedded.kubelet._pod import PodRun
from propeller.embedded.kubelet._servers import Servers
from propeller.embedded.kubelet._status import LOCAL_IP, Container, Failure, Terminated, condition, pod_status
from propeller.embedded.kubelet._usage import Usage
from propeller.embedded.kubelet._volumes import PodDirectory
from propeller.errors import Conflict, NotFound, PropellerError
from propeller.kube._objects import Raw
from propeller.recording import NORMAL, WARNING

_log = logging.getLogger(__name__)

_SCHEDULERS = (None, "", "default-scheduler")
_OVER = ("Succeeded", "Failed")


class Kubelet:
    """Runs pods as processes below `workdir`, as the node `node_name`. Use within `async with`.

    More than 15 methods: one a step of a pod's way through the node (seen, admitted, run, reported, removed), and all
    share the table of its pods.
    """

    def __init__(
        self,
        api: Api,
        *,
        workdir: Path,
        settings: config.KubeletOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
        node_name: str = "embedded",
        api_server: tuple[str, int] | None = None,
    ) -> None:
        """`api_server` is the host and port at which pods reach the API server: their KUBERNETES_SERVICE_HOST and
        KUBERNETES_SERVICE_PORT. Without it, pods get no service account tokens, either.
        """
        self._api = api
        self._settings = settings = settings or config.KubeletOptions()
        self._clock = clock
        self._workdir = workdir
        self._home: Home  # this and the next one within `async with`
        self._servers: Servers
        self._node_name = node_name
        self._env = _base_environment(settings)
        self._service_env = _service_environment(api_server)
        self._sender = Events(api, clock=clock, node_name=node_name) if settings.events else None
        self._events: Recorder = self._sender or NoEvents()
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._waiting: dict[str, Raw] = {}  # by uid, in the order in which they were seen
        self._runs: dict[str, PodRun] = {}  # by uid: running, or over and not yet deleted
        self._active: dict[str, asyncio.Task[None]] = {}  # of the runs, those that are not over
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: set[str] = set()  # uids of pods that are over without having run here
        self._names: dict[tuple[str, str], str] = {}  # namespace and name -> uid
        self._closing = False
        self._cleaner = ThreadPoolExecutor(1, thread_name_prefix="pod directories")
        self.capacity: Capacity = machine_capacity(settings.max_pods)

    async def __aenter__(self) -> Kubelet:
        async with AsyncExitStack() as stack:
            self._home = stack.enter_context(opened_home(self._workdir))
            stack.callback(self._cleaner.shutdown, cancel_futures=True)
            servers = Servers(self._settings, workdir=self._home.path / "servers", env=self._env)
            self._servers = await stack.enter_async_context(servers)
            now = self._clock.now()
            await self._api.register(self._node(now, now))
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.push_async_exit(self._stop_all)
            self._go(self._look(), "look after pods")
            self._go(self._beat(now), "heartbeat")
            if self._sender is not None:
                self._go(self._sender.run(), "send events")
            about = node_reference(self._node_name)
            self._events.record(about, NORMAL, "Starting", "Starting kubelet.")
            self._events.record(about, NORMAL, "NodeReady", f"Node {self._node_name} status is now: NodeReady")
            await stack.enter_async_context(self._api.watch(self._seen))
            for left in self._home.left(self._runs.keys() | self._waiting.keys() | self._settled):
                self._cleaner.submit(remove, left)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def logs(
        self,
        namespace: str,
        name: str,
        container: str | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        timestamps: bool = False,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """Return the output of a container's last run in chunks (the first container's by default): everything that is
        kept, or its last `tail` lines; only lines written `since` then (epoch seconds); each line with its time.

        With `follow` it continues until that run has ended; with `previous` it is the run before. Raises `NotFound` for
        a pod or container that does not run here, and `Rejected` if there was no run before.
        """
        run = self._run_of(namespace, name)
        wanted = container or next(one.name for one in run.containers if not one.init)
        if all(one.name != wanted for one in run.containers):
            raise NotFound(f"container {wanted} is not valid for pod {name}", status=400, reason="BadRequest")
        bounds = run.log_bounds(wanted, previous=previous)
        query = LogQuery(bounds=bounds, tail=tail, since=since, timestamps=timestamps)
        path, index = run.directory.log(wanted), run.log_index[wanted]
        chunks = read_log(path, index, query, follow=lambda: follow and run.following(wanted), now=self._clock.now)
        async for chunk in chunks:
            yield chunk

    def usage(self, namespace: str, name: str) -> dict[str, Usage]:
        """Return what the pod's containers have used so far, by container. Raises `NotFound` for a pod that does not
        run here.
        """
        return dict(self._run_of(namespace, name).meter.usage)

    def _run_of(self, namespace: str, name: str) -> PodRun:
        run = self._runs.get(self._names.get((namespace, name), ""))
        if run is None:
            raise NotFound(
                f"pod {namespace}/{name} is not run by node {self._node_name}", status=404, reason="NotFound"
            )
        return run

    def _directory(self, uid: str, name: str = "") -> PodDirectory:
        logs = Path(self._settings.logs) if self._settings.logs else None
        return PodDirectory(self._home.pod(uid), self._home.temporary(), logs, name)

    def _go(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._group is not None, "use the kubelet within `async with`"
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _seen(self, pod: Raw, gone: bool) -> None:
        """Handle a pod event of the cluster."""
        node = pod["spec"].get("nodeName") or ""
        if node not in ("", self._node_name) or self._closing:
            return
        uid = pod["metadata"]["uid"]
        if uid in self._runs:
            self._runs[uid].seen(pod)
        if gone:
            self._forget(uid)
        elif pod["metadata"].get("deletionTimestamp"):
            self._end(uid, pod)
        elif uid not in self._runs and uid not in self._waiting and uid not in self._settled:
            self._welcome(uid, pod)

    def _welcome(self, uid: str, pod: Raw) -> None:
        spec, status = pod["spec"], pod.get("status") or {}
        if status.get("phase") in _OVER:
            self._settled.add(uid)
        elif spec.get("nodeName") and (status.get("startTime") or self._home.pod(uid).exists()):
            self._settled.add(uid)
            self._go(self._report_lost(pod), f"report lost {uid}")
        elif spec.get("nodeName") or self._schedules(spec):
            self._waiting[uid] = pod
            self._fill()
            if uid in self._waiting:
                self._go(self._explain(uid), f"explain {uid}")

    def _schedules(self, spec: Raw) -> bool:
        """Whether a pod without a node is to run here."""
        given = spec.get("schedulerName") in _SCHEDULERS and not spec.get("schedulingGates")
        return self._settings.schedules and given

    def _fill(self) -> None:
        """Start waiting pods while there is room."""
        while self._waiting and len(self._active) < self.capacity.pods and not self._closing:
            uid, pod = next(iter(self._waiting.items()))
            del self._waiting[uid]
            run = PodRun(
                {**pod, "spec": dict(pod["spec"])},
                api=self._api,
                starter=self._servers,
                settings=self._settings,
                clock=self._clock,
                directory=self._directory(uid, pod["metadata"]["name"]),
                node_name=self._node_name,
                base_env=self._env,
                service_env=self._service_env,
                address=address_of(uid) if self._settings.pod_addresses else LOCAL_IP,
                events=self._events,
            )
            self._runs[uid] = run
            self._names[run.namespace, run.name] = uid
            self._active[uid] = self._go(self._run(run), f"pod {run.namespace}/{run.name}")

    async def _run(self, run: PodRun) -> None:
        try:
            await run.run()
        finally:
            del self._active[run.uid]
        if run.gone:
            self._forget(run.uid)
            self._welcome_again(run.latest)
        else:
            self._cleaner.submit(run.directory.clear)  # waits for the disk, while other pods run
            if run.pod["metadata"].get("deletionTimestamp"):
                await self._remove(run.pod)
        self._fill()

    def _welcome_again(self, pod: Raw) -> None:
        """Handle a bind whose response was lost, which looks like a refusal: the pod's own event shows that it is bound
        to this node.
        """
        if pod["spec"].get("nodeName") == self._node_name and not (pod.get("status") or {}).get("startTime"):
            self._seen(pod, False)

    def _end(self, uid: str, pod: Raw) -> None:
        """The pod is to be deleted: end it, then release its name."""
        self._waiting.pop(uid, None)
        run = self._runs.get(uid)
        if run is not None and uid in self._active:
            run.pod["metadata"] = pod["metadata"]
            run.stop(run.grace)
        elif pod["spec"].get("nodeName") and pod["metadata"].get("deletionGracePeriodSeconds") != 0:
            self._go(self._remove(pod), f"remove {uid}")

    def _forget(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        self._settled.discard(uid)
        run = self._runs.get(uid)
        if run is None:
            remove(self._home.pod(uid))  # an earlier kubelet's
            return
        if uid in self._active:
            run.gone = True
            run.latest = {"metadata": {}, "spec": {}}
            run.stop(0)
            return
        del self._runs[uid]
        if self._names.get((run.namespace, run.name)) == uid:
            del self._names[run.namespace, run.name]
        run.directory.remove()

    async def _remove(self, pod: Raw) -> None:
        metadata = pod["metadata"]
        await self._insist(self._api.remove, metadata["namespace"], metadata["name"], metadata["uid"])

    async def _report_lost(self, pod: Raw) -> None:
        now = self._clock.now()
        failure = Failure("NodeLost", "the kubelet was restarted, and the pod's processes ended with the one before")
        containers = [Container(one) for one in pod["spec"]["containers"]]
        for container in containers:
            container.state = Terminated(137, 9, "ContainerStatusUnknown", failure.message, now, now)
        status = pod_status(containers, policy="Never", bound_at=now, started_at=now, now=now, failure=failure)
        metadata = pod["metadata"]
        await self._insist(self._api.report, metadata["namespace"], metadata["name"], metadata["uid"], status)

    async def _explain(self, uid: str) -> None:
        """Tell a pod that still waits after a while why it does."""
        await asyncio.sleep(self._settings.unschedulable_after)
        pod = self._waiting.get(uid)
        if pod is None:
            return
        why = f"0/1 nodes are available: 1 Too many pods ({self.capacity.pods} run at once on node {self._node_name})"
        scheduled = condition("PodScheduled", False, at=self._clock.now(), reason="Unschedulable", message=why)
        metadata = pod["metadata"]
        status = {"phase": "Pending", "conditions": [scheduled]}
        about = pod_reference(pod)
        self._events.record(about, WARNING, "FailedScheduling", why, component=SCHEDULER, action="Scheduling")
        await self._insist(self._api.report, metadata["namespace"], metadata["name"], uid, status)

    async def _insist(self, call: Any, *arguments: Any) -> None:
        """Repeat a request about a pod until it is done or the pod is gone."""
        delay = self._settings.retry
        while True:
            try:
                await call(*arguments)
            except (NotFound, Conflict):
                return
            except PropellerError as error:
                _log.warning("node %s: %s; trying again in %g s", self._node_name, error, delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 30.0)
            else:
                return

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._settings.memory_interval)
            for uid in list(self._active):
                self._runs[uid].look()

    async def _beat(self, since: float) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            try:
                now = self._clock.now()
                await self._api.register(self._node(now, since))
            except PropellerError as error:
                _log.warning("node %s: heartbeat failed: %s", self._node_name, error)

    def _node(self, now: float, since: float) -> Raw:
        return node_object(self._node_name, self.capacity, now=now, since=since, labels=self._settings.labels)

    async def _stop_all(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every pod, and give the last reports a moment; whatever is left then is cancelled with its processes."""
        self._closing = True
        grace = self._settings.shutdown_grace
        for uid in self._active:
            self._runs[uid].stop(grace, Failure("Terminated", "the kubelet was stopped, and the pod with it"))
        if self._active:
            await asyncio.wait(self._active.values(), timeout=grace + self._settings.retry)
        for task in self._tasks:
            task.cancel()


def _base_environment(settings: config.KubeletOptions) -> dict[str, str]:
    """Return the environment below every container's own: the user's interpreter is first on the PATH, as in an image
    built around it.
    """
    python = settings.python or sys.executable
    inherited = {name: os.environ[name] for name in settings.inherit_env if name in os.environ}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)]),
    }


def _service_environment(api_server: tuple[str, int] | None) -> dict[str, str]:
    """Return the variables by which a pod finds the API server."""
    if api_server is None:
        return {}
    host, port = api_server
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
