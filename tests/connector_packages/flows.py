"""The tasks of flytekit's connector packages in one workflow: those of packages that are installed."""

from __future__ import annotations

import contextlib
import os

from flytekit import Resources, Workflow, kwtypes, task, workflow
from flytekit.core.workflow import WorkflowFailurePolicy
from flytekit.types.structured import StructuredDataset

everything = Workflow(name="everything", failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)

with contextlib.suppress(ImportError):
    from flytekitplugins.bigquery import BigQueryConfig, BigQueryTask

    bigquery_task = BigQueryTask(
        name="bigquery",
        query_template="SELECT * FROM numbers WHERE n = @n -- {{ .rawOutputDataPrefix }}",
        inputs=kwtypes(n=int, word=str),
        task_config=BigQueryConfig(ProjectID="project", Location="EU"),
        output_structured_dataset_type=StructuredDataset,
    )
    everything.add_entity(bigquery_task, n=4, word="a")


with contextlib.suppress(ImportError):
    from flytekitplugins.snowflake import SnowflakeConfig, SnowflakeTask

    snowflake_task = SnowflakeTask(
        name="snowflake",
        query_template="INSERT INTO numbers VALUES (%(n)s)",
        inputs=kwtypes(n=int),
        task_config=SnowflakeConfig("user", "org-account", "database", "schema", "warehouse"),
        output_schema_type=StructuredDataset,
    )
    everything.add_entity(snowflake_task, n=4)


with contextlib.suppress(ImportError):
    from flytekitplugins.spark import DatabricksV2

    @task(
        task_config=DatabricksV2(
            spark_conf={"spark.executor.cores": "2"},
            databricks_conf={"run_name": "flyte", "existing_cluster_id": "cluster", "timeout_seconds": 3600},
            databricks_instance="account.cloud.databricks.com",
        ),
        environment={"COLOUR": "blue"},
    )
    def on_databricks(n: int) -> int:
        return n * n

    everything.add_entity(on_databricks, n=4)


with contextlib.suppress(ImportError):
    from flytekitplugins.slurm import SlurmConfig, SlurmFunctionConfig, SlurmScriptConfig, SlurmShellTask, SlurmTask

    SSH = {"host": "login", "username": "me"}

    @task(task_config=SlurmFunctionConfig(ssh_config=SSH, sbatch_config={"partition": "debug"}))
    def on_slurm(n: int) -> int:
        return n * n

    everything.add_entity(on_slurm, n=4)

    slurm_shell_task = SlurmShellTask(  # with inputs or outputs flytekit cannot serialize it
        name="shell",
        task_config=SlurmConfig(ssh_config=SSH, sbatch_config={"partition": "debug"}),
        script="#!/bin/bash\necho it runs",
    )
    everything.add_entity(slurm_shell_task)

    slurm_script_task = SlurmTask(
        name="script",
        task_config=SlurmScriptConfig(ssh_config=SSH, batch_script_path="/bin/true", batch_script_args=["a"]),
    )
    everything.add_entity(slurm_script_task)


with contextlib.suppress(ImportError):
    from flytekitplugins.awssagemaker_inference import BotoConfig, BotoTask, SageMakerEndpointTask
    from flytekitplugins.awssagemaker_training import SageMakerTrainingJobTask

    boto_task = BotoTask(
        name="boto",
        task_config=BotoConfig(
            service="sagemaker",
            method="create_model",
            config={"ModelName": "{inputs.name}-{idempotence_token}", "PrimaryContainer": {"Image": "{images.main}"}},
            region="eu-west-1",
            images={"main": "registry/model:1"},
        ),
        inputs=kwtypes(name=str),
    )
    everything.add_entity(boto_task, name="model")

    endpoint_task = SageMakerEndpointTask(
        name="endpoint",
        config={"EndpointName": "{inputs.name}", "EndpointConfigName": "config"},
        region="eu-west-1",
        inputs=kwtypes(name=str),
    )
    everything.add_entity(endpoint_task, name="endpoint")

    training_task = SageMakerTrainingJobTask(
        name="training", config={"TrainingJobName": "{inputs.name}"}, region="eu-west-1", inputs=kwtypes(name=str)
    )
    everything.add_entity(training_task, name="training")


with contextlib.suppress(ImportError):
    from flytekitplugins.k8sdataservice import DataServiceConfig, DataServiceTask

    data_service_task = DataServiceTask(
        name="service",
        task_config=DataServiceConfig(
            Name="graph", Image="graph:1", Command=["serve"], Cluster="c", Port=1, Replicas=1
        ),
    )

    @workflow
    def data_service() -> None:
        data_service_task()  # an output called `name` is one that flytekit's nodes cannot have elsewhere

    everything.add_entity(data_service)


with contextlib.suppress(ImportError):
    from flytekitplugins.mmcloud import MMCloudConfig

    @task(
        task_config=MMCloudConfig(submit_extra="--migratePolicy [enable=true]"),
        requests=Resources(cpu="2", mem="2Gi"),
        environment={"COLOUR": "blue"},
    )
    def on_mmcloud(n: int) -> int:
        return n * n

    everything.add_entity(on_mmcloud, n=4)


with contextlib.suppress(ImportError):
    from flytekitplugins.perian_job import PerianConfig, PerianContainerTask

    @task(task_config=PerianConfig(cores=2, memory=4, country_code="DE"))
    def on_perian(n: int) -> int:
        return n * n

    everything.add_entity(on_perian, n=4)

    perian_container_task = PerianContainerTask(
        name="perian_container",
        task_config=PerianConfig(cores=2),
        image="busybox:1",
        command=["echo", "{{.inputs.n}}"],
        inputs=kwtypes(n=int),
    )
    everything.add_entity(perian_container_task, n=4)


with contextlib.suppress(ImportError):
    from flytekitplugins.openai import BatchEndpointTask, ChatGPTTask

    batch_task = BatchEndpointTask(name="batch", config={"metadata": {"team": "a"}}, openai_organization="org")
    everything.add_entity(batch_task, input_file_id="file-0")

    chatgpt_task = ChatGPTTask(
        name="chatgpt", openai_organization="org", chatgpt_config={"model": "gpt-4o", "temperature": 0.5}
    )
    everything.add_entity(chatgpt_task, message="hello")


with contextlib.suppress(ImportError):
    from flytekit.extras.webhook import WebhookTask

    webhook_task = WebhookTask(
        name="webhook",
        url="{inputs.url}",
        headers={"X-Token": "token"},
        data={"n": "{inputs.n}"},
        dynamic_inputs=kwtypes(url=str, n=int),
    )
    everything.add_entity(webhook_task, url=os.environ.get("WEBHOOK_URL", ""), n=4)
