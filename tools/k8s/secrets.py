"""Nothing secret in a manifest, and nothing of a local stack in production."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.k8s.manifests import WORKLOADS, Expected, Manifest, containers_of, name_of, of_kind

SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE|CREDENTIAL|(^|_)KEY($|_)", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
LOCAL_ONLY_SETTINGS = ("SUSHU_SIM_CLOCK", "SUSHU_ADMIN_TOKEN", "SUSHU_DEMO_STREAM")
"""Settings that production refuses (api.md, Local stack); a manifest must not even carry them."""


def secrets_are_outside(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    for document in of_kind(documents, "Secret"):
        if document.get("data") or document.get("stringData"):
            yield f"{name_of(document)} ships values; write it with the cluster's own secret tooling"
    values: list[tuple[str, str, str]] = []
    for document in of_kind(documents, "ConfigMap"):
        values += [(name_of(document), key, str(value)) for key, value in document.get("data", {}).items()]
    for workload in of_kind(documents, *WORKLOADS):
        for container in containers_of(workload):
            given = [variable for variable in container.get("env", []) if "value" in variable]
            values += [(name_of(workload), variable["name"], str(variable["value"])) for variable in given]
            given = [*container.get("command", []), *container.get("args", [])]
            values += [(name_of(workload), "command", str(word)) for word in given]
    for where, key, value in values:
        names_a_path = value.startswith("/") or key.endswith(("_FILE", "_URL"))
        if SECRET_NAME.search(key) and value and not names_a_path:
            yield f"{where}: {key} is a secret with a value; refer to a Secret instead"
        if URL_WITH_PASSWORD.search(value):
            yield f"{where}: {key} holds a password in an address; refer to a Secret instead"


def production_is_production(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    if not expected.production:
        return
    for document in of_kind(documents, "StatefulSet", "PersistentVolume"):
        yield f"{name_of(document)}: production refers to an outside database and broker and ships none"
    for document in of_kind(documents, "ConfigMap"):
        for key in document.get("data", {}):
            if key in LOCAL_ONLY_SETTINGS:
                yield f"{name_of(document)}: {key} belongs to local stacks only"
        of_services = document["metadata"]["name"].startswith("sushu-settings")
        if of_services and document["data"].get("SUSHU_ENV") != "production":
            yield f"{name_of(document)}: SUSHU_ENV is not 'production', so production's refusals are off"
        if of_services and document["data"].get("SUSHU_CITY", "demo") == "demo":
            yield f"{name_of(document)}: SUSHU_CITY is the demo city; mount the city's own folder"
    for gateway in of_kind(documents, "Gateway"):
        for listener in gateway["spec"]["listeners"]:
            if listener["protocol"] != "HTTPS" or not listener.get("tls"):
                yield f"{name_of(gateway)}: listener {listener['name']} speaks without TLS"
