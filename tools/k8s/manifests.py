"""What the rules read: manifests as plain mappings, and what an overlay is expected to contain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

# What a service answers below /ops/<service>/ for people (api.md, Routes). `metrics` is left out: it is scraped inside
# the cluster and has no business at the public door.
OPERATIONS = ("health", "openapi.json", "docs", "dead-letters", "reconcile", "audit")

WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob", "DaemonSet")


@dataclass(frozen=True)
class Route:
    """One line of deploy/routes.yaml: which paths belong to a service. ``local_only`` never leave a local stack."""

    service: str
    segments: tuple[str, ...]
    local_only: tuple[str, ...]
    paths: tuple[str, ...]

    def public_prefixes(self) -> list[str]:
        operations = [f"/ops/{self.service}/{name}" for name in OPERATIONS]
        return [*(f"/v1/{segment}" for segment in self.segments), *self.paths, *operations]


@dataclass(frozen=True)
class Expected:
    """What an overlay has to contain: its name, the deployed services, and the route table."""

    env: str
    services: list[str]
    routes: Mapping[str, Route]

    @property
    def production(self) -> bool:
        return self.env == "production"


def name_of(document: Manifest) -> str:
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def of_kind(documents: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [document for document in documents if document.get("kind") in kinds]


def pod_of(document: Manifest) -> Manifest:
    """The pod template of a workload."""
    spec = document["spec"]
    template: Manifest = spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]
    return template


def containers_of(document: Manifest) -> list[Manifest]:
    spec = pod_of(document)["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
