"""One pod's life: binding, init containers, containers, restarts; its end by success, failure, deadline or deletion.

Guarantees
    Each container's end is reported as soon as its process is reaped. Reports of one pod never overlap or overtake each
    other. After `run` returns, no process of the pod is left.
Errors
    A pod's errors become its status. Failed requests are retried until they succeed or the pod is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from propeller import config
from propeller.clock import Clock
from propeller.embedded.kubelet._api import Api
from propeller.embedded.kubelet._events import SCHEDULER, Recorder, pod_reference
from propeller.embedded.kubelet._launch import Launcher, Starter, memory_limit
from propeller.embedded.kubelet._log_index import LogIndex, bounds_of
from propeller.embedded.kubelet._logs import note_growth, rotate
from propeller.embedded.kubelet._memory import tree_bytes
from propeller.embedded.kubelet._probes import Health, Unhealthy, has_probes, probing
from propeller.embedded.kubelet._processes import CannotStart, Command, Exit, Process
from propeller.embedded.kubelet._status import (
    Container,
    Failure,
    Running,
    Terminated,
    Waiting,
    keep_transitions,
    pod_status,
)
from propeller.embedded.kubelet._usage import Meter
from propeller.embedded.kubelet._volumes import MountFailed, PodDirectory, show_fields
from propeller.errors import Conflict, Invalid, NotFound, Rejected, Retryable
from propeller.kube._objects import Raw
from propeller.recording import NORMAL, WARNING

_log = logging.getLogger(__name__)

_CANNOT_START = 128  # containerd's exit code for a container whose program could not be executed


class PodRun:
    """Runs one pod. `stop` may be called at any time; all else happens in `run`.

    More than 15 methods: one a step of the pod's life, and all share the states of its containers.
    """

    def __init__(
        self,
        pod: Raw,
        *,
        api: Api,
        starter: Starter,
        settings: config.KubeletOptions,
        clock: Clock,
        directory: PodDirectory,
        node_name: str,
        base_env: dict[str, str],
        service_env: dict[str, str],
        address: str,
        events: Recorder,
    ) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        pod = {**pod, "status": {**(pod.get("status") or {}), "podIP": address}}
        self.pod = self.latest = pod
        self.namespace, self.name, self.uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self.directory = directory
        self.containers = [Container(one, init=True) for one in spec.get("initContainers") or ()]
        first = Waiting("PodInitializing" if self.containers else "ContainerCreating")
        self.containers += [Container(one) for one in spec["containers"]]
        for container in self.containers:
            container.state = first
        self.log_index = {one.name: LogIndex() for one in self.containers}
        self.failure: Failure | None = None
        self.gone = False
        self.meter = Meter()
        self._api = api
        self._launcher = Launcher(
            pod,
            api=api,
            starter=starter,
            settings=settings,
            clock=clock,
            directory=directory,
            base_env=base_env,
            service_env=service_env,
        )
        self._address = address
        self._settings = settings
        self._events = events
        self._clock = clock
        self._node_name = node_name
        self._policy = spec.get("restartPolicy") or "Always"
        self._live: dict[str, Process] = {}
        self._over_memory: set[str] = set()
        self._stopping = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._bound_at = self._started_at = clock.now()
        self._conditions: list[Raw] = []
        self._limits: dict[str, int] = {}  # bytes, of containers that have started

    async def run(self) -> None:
        """From unbound to its last report. Cancelled, it kills the pod's processes and reports nothing more."""
        if not self.pod["spec"].get("nodeName") and not await self._bind():
            return
        self.pod["spec"]["nodeName"] = self._node_name
        self._bound_at = self._started_at = self._clock.now()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report(), name=f"report {self.namespace}/{self.name}")
                try:
                    async with self._launcher.keeping_tokens():
                        await self._run_containers()
                finally:
                    self._ended.set()
                    self._changed.set()
        finally:
            for timer in self._timers:
                timer.cancel()
            self._kill(signal.SIGKILL)

    def seen(self, pod: Raw) -> None:
        """Take the pod's latest state, and show its labels and annotations to its containers."""
        self.latest = pod
        now = {field: pod["metadata"].get(field) for field in ("labels", "annotations")}
        if any(self.pod["metadata"].get(field) != value for field, value in now.items()):
            self.pod["metadata"] = self.pod["metadata"] | now
            if not self._ended.is_set():
                show_fields(self.directory.volumes, self.pod)

    def stop(self, grace: float, failure: Failure | None = None) -> None:
        """Ask the processes to end, and make them after `grace` seconds. A later call can only shorten that. Native
        sidecars are asked when the other containers have ended.
        """
        if failure is not None and self.failure is None and not self._ended.is_set():
            self.failure = failure
        first = not self._stopping.is_set()
        self._stopping.set()
        if first:
            for name in self._live:
                self._record(NORMAL, "Killing", f"Stopping container {name}", self._container(name))
        if grace <= 0:
            self._kill(signal.SIGKILL)
            return
        if first:
            self._terminate()
        self._timers.append(asyncio.get_running_loop().call_later(grace, self._kill, signal.SIGKILL))

    @property
    def grace(self) -> float:
        """Seconds that the pod's own spec or its deletion gives."""
        given = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if given is None:
            given = self.pod["spec"].get("terminationGracePeriodSeconds")
        return self._settings.termination_grace if given is None else float(given)

    def look(self) -> None:
        """Enforce memory limits and log caps once."""
        for container in self.containers:
            process = self._live.get(container.name)
            if process is None or not process.pid:
                continue
            limit = self._limits[container.name]
            used = tree_bytes(process.pid, limit)
            self.meter.saw(container.name, used)
            if used > limit:
                self._over_memory.add(container.name)
                process.kill(signal.SIGKILL)
            path = self.directory.log(container.name)
            rotate(path, self._settings.log_bytes, self.log_index[container.name], self._clock.now())

    def log_bounds(self, container: str, *, previous: bool) -> tuple[int, int | None]:
        """Return the part of a container's log that a run has written; see `bounds_of`."""
        return bounds_of(self._container(container), self.log_index[container], self.name, previous=previous)

    def following(self, container: str) -> bool:
        """Whether the container's last run may write more."""
        return container in self._live

    async def _bind(self) -> bool:
        bound = await self._insist(partial(self._api.bind, self.namespace, self.name, self.uid, self._node_name))
        if bound:
            assigned = f"Successfully assigned {self.namespace}/{self.name} to {self._node_name}"
            about = pod_reference(self.pod)
            self._events.record(about, NORMAL, "Scheduled", assigned, component=SCHEDULER, action="Binding")
        return bound and not self._stopping.is_set()

    async def _run_containers(self) -> None:
        deadline = self.pod["spec"].get("activeDeadlineSeconds")
        if deadline is not None:
            late = Failure("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self._timers.append(asyncio.get_running_loop().call_later(deadline, self._exceed, late))
        self.directory.create()
        self._touch()
        async with asyncio.TaskGroup() as sidecars:
            for container in (one for one in self.containers if one.init):
                if container.sidecar:
                    sidecars.create_task(self._run_container(container, "Always"), name=container.name)
                    continue
                await self._run_container(container, "OnFailure" if self._policy == "Always" else self._policy)
                if not container.succeeded:
                    break
            else:
                async with asyncio.TaskGroup() as mains:
                    for container in (one for one in self.containers if not one.init):
                        mains.create_task(self._run_container(container, self._policy), name=container.name)
            if any(one.sidecar for one in self.containers):
                self.stop(self.grace)
                self._terminate()

    def _exceed(self, late: Failure) -> None:
        self._record(NORMAL, late.reason, late.message)
        self.stop(self.grace, late)

    async def _run_container(self, container: Container, policy: str) -> None:
        backoff = self._settings.restart_backoff
        while not self._stopping.is_set():
            ended = await self._run_once(container)
            if ended is None:
                return
            container.state = ended
            self._touch()
            if policy == "Never" or (policy == "OnFailure" and ended.exit_code == 0) or self._stopping.is_set():
                return
            why = f"back-off {backoff:g}s restarting failed container={container.name} pod={self.name}"
            container.last, container.state = ended, Waiting("CrashLoopBackOff", why)
            container.restarts += 1
            pod = f"{self.name}_{self.namespace}({self.uid})"
            back_off = f"Back-off restarting failed container {container.name} in pod {pod}"
            self._record(WARNING, "BackOff", back_off, container)
            if await self._stopped_within(backoff):
                container.state = ended
                self._touch()
            backoff = min(backoff * 2, self._settings.restart_backoff_cap)

    async def _run_once(self, container: Container) -> Terminated | None:
        """Run one process of the container, from its configuration to its end; None if the pod was stopped before."""
        began = self._clock.now()
        try:
            command = await self._configure(container)
            if command is None:
                return None
            self._record(NORMAL, "Created", "Container created", container)
            self._note_log(container.name)
            self.log_index[container.name].begin_run()
            process = await self._launcher.start(container.spec, command)
        except (CannotStart, OSError) as error:
            return self._terminated(container, began, Exit(code=_CANNOT_START, error=str(error)))
        container.state = Running(began)
        self._record(NORMAL, "Started", "Container started", container)
        self._live[container.name] = process
        if self._stopping.is_set():
            process.kill(signal.SIGKILL)
        self._touch()
        try:
            end = await (self._probed(container, process) if has_probes(container.spec) else process.wait())
        finally:
            process.kill(signal.SIGKILL)
            del self._live[container.name]
        self._note_log(container.name)
        self.meter.ended(container.name, end)
        return self._terminated(container, began, end)

    async def _probed(self, container: Container, process: Process) -> Exit:
        """Wait for the end of a process, and end it if its probes say that it has to be restarted."""
        container.health = Health(container.spec)

        def unhealthy(found: Unhealthy) -> None:
            self._record(WARNING, "Unhealthy", f"{found.probe} probe failed: {found.why}", container)
            killing = f"Container {container.name} failed {found.probe.lower()} probe, will be restarted"
            self._record(NORMAL, "Killing", killing, container)

        async with probing(container.spec, container.health, process.kill, self._address, self._touch, unhealthy):
            return await process.wait()

    async def _configure(self, container: Container) -> Command | None:
        """Return the container's program; wait as long as an object that its spec refers to is missing. None once
        stopped.
        """
        image = f'Container image "{container.spec.get("image", "")}"'
        pulled = f"{image} already present on machine and can be accessed by the pod"
        while True:
            try:
                self._limits[container.name] = memory_limit(container.spec)
                command = await self._launcher.configure(container.spec)
            except MountFailed as error:  # before images are pulled
                container.state = Waiting("CreateContainerConfigError", str(error))
                self._record(WARNING, "FailedMount", error.event)
            except CannotStart:  # a runtime notices only when it starts the container
                self._record(NORMAL, "Pulled", pulled, container)
                self._record(NORMAL, "Created", "Container created", container)
                raise
            except Invalid as error:
                container.state = Waiting("CreateContainerConfigError", str(error))
                self._record(NORMAL, "Pulled", pulled, container)
                self._record(WARNING, "Failed", f"Error: {error}", container)
            else:
                self._record(NORMAL, "Pulled", pulled, container)
                return command
            self._touch()
            if await self._stopped_within(self._settings.retry):
                return None

    def _terminated(self, container: Container, began: float, end: Exit) -> Terminated:
        reason = "Completed" if end.code == 0 else "Error"
        if end.error:
            reason = "StartError"
            self._record(WARNING, "Failed", f"Error: {end.error}", container)
        elif container.name in self._over_memory:
            self._over_memory.discard(container.name)
            reason = "OOMKilled"
        message = end.error or self._launcher.message(container.spec, failed=end.code != 0)
        return Terminated(end.code, end.signal, reason, message, began, self._clock.now())

    def _terminate(self) -> None:
        """Ask the containers to end; native sidecars only if no other runs."""
        for name in self._live.keys() - {one.name for one in self.containers if one.sidecar} or self._live:
            self._live[name].kill(signal.SIGTERM)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _kill(self, signum: int) -> None:
        for process in self._live.values():
            process.kill(signum)

    def _record(self, type_: str, reason: str, message: str, container: Container | None = None) -> None:
        name, init = ("", False) if container is None else (container.name, container.init)
        self._events.record(pod_reference(self.pod, name, init=init), type_, reason, message)

    def _note_log(self, container: str) -> None:
        note_growth(self.directory.log(container), self.log_index[container], self._clock.now())

    def _container(self, name: str) -> Container:
        return next(one for one in self.containers if one.name == name)

    def _touch(self) -> None:
        self._changed.set()

    async def _report(self) -> None:
        """Send the status whenever it has changed, merged over `status_delay`; the last one at once."""
        sent: Raw = {}
        while not (self._ended.is_set() and not self._changed.is_set()):
            await self._changed.wait()
            with contextlib.suppress(TimeoutError):  # then the pod goes on, and its news has waited long enough
                async with asyncio.timeout(self._settings.status_delay):
                    await self._ended.wait()
            self._changed.clear()
            status = self.status()
            if status != sent and not self.gone:
                await self._insist(partial(self._api.report, self.namespace, self.name, self.uid, status))
                sent = status

    def status(self) -> Raw:
        """The pod's status as it is now."""
        status = pod_status(
            self.containers,
            policy=self._policy if not self._stopping.is_set() else "Never",
            bound_at=self._bound_at,
            started_at=self._started_at,
            now=self._clock.now(),
            failure=self.failure,
            address=self._address,
        )
        self._conditions = keep_transitions(self._conditions, status["conditions"])
        return status | {"conditions": self._conditions}

    async def _insist(self, call: Callable[[], Awaitable[Any]]) -> bool:
        """Repeat a request until it is done (true) or the pod is found to be gone or not ours (false)."""
        delay = self._settings.retry
        while not self.gone:
            try:
                await call()
            except (NotFound, Conflict):
                self.gone = True
                self.stop(0)
            except Retryable as error:
                _log.warning("pod %s/%s: %s; trying again in %g s", self.namespace, self.name, error, delay)
                await asyncio.sleep(max(error.after or 0.0, delay))
                delay = min(delay * 2, 30.0)
            except Rejected as error:
                _log.error("pod %s/%s: the API server rejects it: %s", self.namespace, self.name, error)
                return False
            else:
                return True
        return False
