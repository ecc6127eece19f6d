"""A workflow whose middle task runs as a Kubernetes Job."""

from flytekit import task, workflow
from propeller_k8s_job.task import K8sJob


@task
def count(text: str) -> int:
    return len(text)


@task(task_config=K8sJob(completions=2, parallelism=2))
def square(n: int) -> int:
    return n * n


@task
def show(n: int) -> str:
    return f"{n} by a Job"


@workflow
def squares(text: str = "abc") -> str:
    return show(n=square(n=count(text=text)))
