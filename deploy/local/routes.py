"""Reads the one route table, `deploy/routes.yaml`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
TABLE = CHECKOUT / "deploy" / "routes.yaml"


@dataclass(frozen=True)
class ServiceRoutes:
    """What one service answers."""

    service: str
    prefixes: tuple[str, ...]
    """Path prefixes without a trailing slash: the path itself and everything below it belongs to the service."""


def known_services() -> list[str]:
    """Every service that the table names, in its order; not all need be there."""
    return list(yaml.safe_load(TABLE.read_text(encoding="utf-8"))["services"])


def local_services() -> list[str]:
    """Services of the table that this checkout has, in the order of the table: the loop first, then added ones."""
    return [name for name in known_services() if (CHECKOUT / "services" / name / "bootstrap.py").exists()]


def local_routes(services: Iterable[str]) -> list[ServiceRoutes]:
    """Routes of the given services on a local stack, their /ops pages included; raises KeyError for an unknown one."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["services"]
    routes = []
    for service in services:
        entry = table[service]
        segments = [*entry.get("segments", []), *entry.get("local_only", [])]
        prefixes = [f"/v1/{segment}" for segment in segments] + list(entry.get("paths", [])) + [f"/ops/{service}"]
        routes.append(ServiceRoutes(service, tuple(prefixes)))
    return routes


def in_process_routes(services: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The same table for services in one process: first segment after /v1/ → service, other prefix → service."""
    segments, paths = {}, {}
    for served in local_routes(services):
        for prefix in served.prefixes:
            if prefix.startswith("/v1/"):
                segments[prefix.removeprefix("/v1/")] = served.service
            elif not prefix.startswith("/ops/"):
                paths[prefix] = served.service
    return segments, paths
