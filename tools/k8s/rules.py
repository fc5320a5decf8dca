"""What must hold for every rendered overlay: each rule turns manifests into sentences, none when all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tools.k8s import links, overlays, pods, schemas, secrets
from tools.k8s.manifests import Expected, Manifest

RULES: tuple[Callable[[list[Manifest], Expected], Iterator[str]], ...] = (
    schemas.schema_is_met,
    schemas.names_are_unique,
    pods.every_service_is_complete,
    pods.commands_name_their_service,
    pods.probes_are_present,
    pods.resources_are_bounded,
    pods.pods_are_restricted,
    pods.images_are_pinned,
    pods.pods_are_spread,
    links.selectors_find_their_pods,
    links.network_is_closed,
    links.references_exist,
    links.routes_follow_the_table,
    secrets.secrets_are_outside,
    secrets.production_is_production,
)


def problems(documents: list[Manifest], expected: Expected) -> list[str]:
    """Every broken rule of one rendered overlay, as sentences that name the object and the remedy."""
    return [sentence for rule in RULES for sentence in rule(documents, expected)]


def check_overlay(env: str, root: Path = overlays.K8S) -> list[str]:
    """Everything wrong with one overlay on disk, one sentence each; empty when it is good."""
    documents = [document for document in yaml.safe_load_all(overlays.build(env, root)) if document]
    return problems(documents, Expected(env, overlays.deployed_services(root), overlays.route_table()))
