"""`propeller install`: manifests of what a controller needs in a cluster, and of the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from propeller.cli._output import say_bytes
from propeller.cli._settings import load
from propeller.config import LeaseOptions, RoutingOptions, Settings
from propeller.manifests import execution_cluster, installation, manifests, types


def print_manifests(
    *,
    print_: bool,
    namespace: str,
    only: str,
    image: str,
    config: str | None,
    crd_only: bool,
    execution_cluster: bool,
    routing: bool,
    shards: bool,
    cluster_secrets: tuple[str, ...],
) -> None:
    """Print the CRDs, service account and RBAC of the controller, and on request the controller itself."""
    namespace = namespace or LeaseOptions().lease_namespace
    if not print_:
        raise click.UsageError("say --print: the manifests go to standard output, for kubectl apply -f -")
    if crd_only + execution_cluster + bool(image) > 1:
        raise click.UsageError("--crd-only, --execution-cluster and --image exclude each other")
    settings = load(config, {}).settings  # not of this shell's environment: the pods have another one
    settings = _with_shards(_with_routing(settings, routing=routing), shards=shards)
    if crd_only:
        documents = types(only, settings)
    elif execution_cluster:
        documents = _of_execution_cluster(namespace, settings=settings)
    elif image:
        documents = _with_controller(namespace, image, config, only, settings, cluster_secrets)
    else:
        documents = manifests(namespace, only, settings=settings, kubeconfigs=cluster_secrets)
    say_bytes(yaml.safe_dump_all(documents, sort_keys=False).encode())


_of_execution_cluster = execution_cluster  # the option has its name within the command


def _with_routing(settings: Settings, *, routing: bool) -> Settings:
    """The settings, such that a RoutingTable is followed if `routing`, whichever it is."""
    if not routing or settings.routing.table:
        return settings
    return msgspec.structs.replace(settings, routing=RoutingOptions(table="default"))


def _with_shards(settings: Settings, *, shards: bool) -> Settings:
    """The settings, such that the workflows are divided if `shards`, into however many."""
    if not shards or settings.shards.count:
        return settings
    return msgspec.structs.replace(settings, shards=msgspec.structs.replace(settings.shards, count=1))


def _with_controller(
    namespace: str, image: str, config: str | None, only: str, settings: Settings, kubeconfigs: tuple[str, ...]
) -> list[dict[str, Any]]:
    if config is None or not settings.storage.metadata_prefix:
        raise click.UsageError(
            "--image needs storage.metadata_prefix in the file of --config: a pod has no files that outlive it"
        )
    return installation(namespace, image, _as_yaml(Path(config)), only, settings, kubeconfigs)


def _as_yaml(path: Path) -> str:
    """The text of a settings file that has been read already, in YAML."""
    text = path.read_text()
    return yaml.safe_dump(msgspec.toml.decode(text), sort_keys=False) if path.suffix == ".toml" else text
