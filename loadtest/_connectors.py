"""What it costs to look at jobs of a connector: CPU of this process for each second, with a service in another process.

The service answers GetTask at once, from a process of its own: what is measured is the client alone, on the loop of the
controller: the heap of times, gRPC, the message, and what is read from it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2

from loadtest._line import Line
from propeller.clock import SYSTEM_CLOCK
from propeller.connectors import Category, ConnectorOptions, ConnectorService, Directory, Poller, Service
from propeller.handlers.plugins import ConnectorPlugin
from propeller.workflow import AttemptPhase, Job

JOB_TYPE = "job"


JOBS = 1000
SECONDS = 60.0
AGES = {"have just begun": 0.0, "have run for 10 minutes": 600.0}


def measure() -> Iterator[Line]:
    """Yield the lines of the table."""
    for what, age in AGES.items():
        found = asyncio.run(poll_jobs(JOBS, age, SECONDS))
        name = f"{JOBS} jobs that {what}: "
        yield Line(name=f"{name}CPU", value=100 * found.cores, unit="% of a core", budget=5.0)
        yield Line(name=f"{name}looks", value=found.looks / found.seconds, unit="a second")
        yield Line(name=f"{name}longest time between two looks at one", value=found.longest, unit="s")


class Polled(msgspec.Struct, frozen=True):
    """What looking at jobs has cost."""

    jobs: int
    age: float
    """Seconds that each job had run before."""
    seconds: float
    looks: int
    cores: float
    """CPU seconds of this process a second."""
    longest: float
    """Seconds between two looks at the same job."""


async def poll_jobs(jobs: int, age: float, seconds: float) -> Polled:
    """Look at jobs of this age for so many seconds, as a controller does with its defaults."""
    with _service() as port:
        service = ConnectorService(name="service", endpoint=f"127.0.0.1:{port}", insecure=True)
        options = ConnectorOptions(services=(service,))
        directory = Directory(options)
        plugin = ConnectorPlugin(directory)
        looks, longest = 0, 0.0
        seen: dict[int, float] = {}

        async def look(number: int) -> bool:
            nonlocal looks, longest
            state = await plugin.get(Job(0, 0, JOB_TYPE, 0, b"%d" % number, 0.0), "s3://bucket/outputs")
            now = time.monotonic()
            looks += 1
            longest = max(longest, now - seen.get(number, now))
            seen[number] = now
            return state.phase is AttemptPhase.RUNNING

        poller: Poller[int] = Poller(options, look, lambda _: JOB_TYPE, lambda _: "", SYSTEM_CLOCK)
        async with directory.running(), asyncio.TaskGroup() as group:
            polls = group.create_task(poller.run())
            while not isinstance(directory.find(Category(JOB_TYPE)), Service):
                await asyncio.sleep(0.1)
            for number in range(jobs):
                poller.follow(number, age)
            await asyncio.sleep(2 * options.poll_shortest)  # the first looks, all within `poll_shortest`
            before, began, cpu = looks, time.monotonic(), _cpu()
            await asyncio.sleep(seconds)
            spent, took = _cpu() - cpu, time.monotonic() - began
            polls.cancel()
        return Polled(jobs, age, took, looks - before, spent / took, longest)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def _service() -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(port: Any) -> None:
    asyncio.run(_serve_until_killed(port))


async def _serve_until_killed(port: Any) -> None:
    import grpc
    import grpc.aio

    category = agent_pb2.TaskCategory(name=JOB_TYPE)
    listed = agent_pb2.ListAgentsResponse(agents=[agent_pb2.Agent(supported_task_categories=[category])])
    link = execution_pb2.TaskLog(name="Console", uri="https://jobs.example/jobs/1234567890")
    running = agent_pb2.Resource(phase=execution_pb2.TaskExecution.RUNNING, message="it runs", log_links=[link])
    answers = {
        "ListAgents": listed.SerializeToString(),
        "GetTask": agent_pb2.GetTaskResponse(resource=running).SerializeToString(),
    }

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, details: Any) -> Any:
            answer = answers[details.method.rpartition("/")[2]]

            async def respond(request: bytes, context: Any) -> bytes:
                return answer

            return grpc.unary_unary_rpc_method_handler(respond)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port.send(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()
