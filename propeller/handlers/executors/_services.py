"""What executors work with."""

from __future__ import annotations

from typing import Protocol

import msgspec

from propeller.config import Effects
from propeller.handlers.executors._gates import Gates
from propeller.handlers.executors._inputs import Inputs
from propeller.handlers.plugins.pod import PodSettings
from propeller.kube import Client, Pod
from propeller.storage import Storage


class PodCache(Protocol):
    """The informer's store: pods by `namespace/name`."""

    def get(self, key: str, /) -> Pod | None: ...


class Services(msgspec.Struct, frozen=True):
    """One set for all executions of a controller."""

    client: Client
    pods: PodCache
    storage: Storage
    inputs: Inputs
    pod_settings: PodSettings
    gates: Gates
    effects: Effects = Effects()
    """How they are tried again."""
