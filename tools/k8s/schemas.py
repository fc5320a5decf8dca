"""Every manifest against its schema, strictly and offline.

The schemas of Kubernetes' own kinds come from ``kubernetes-validate``; those of the Gateway API are custom
resources, so the part of them that we use is stated here, after gateway.networking.k8s.io/v1.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate

from tools.k8s.manifests import Expected, Manifest, name_of

VERSIONS = ("1.30", "1.34", "1.37")
"""The oldest cluster that we promise, a common one, and the newest whose schemas are bundled."""


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


_NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_METADATA = {"type": "object", "required": ["name"], "properties": {"name": _NAME}}
_MATCH = _object(
    ["path"],
    path=_object(
        ["type", "value"],
        type={"enum": ["Exact", "PathPrefix"]},
        value={"type": "string", "pattern": "^/[^?#]*$", "maxLength": 1024},
    ),
)
_ROUTE_RULE = _object(
    ["matches", "backendRefs"],
    matches={"type": "array", "minItems": 1, "maxItems": 64, "items": _MATCH},
    backendRefs={
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": _object(["name", "port"], name=_NAME, port=_PORT),
    },
)
_LISTENER = _object(
    ["name", "protocol", "port"],
    name=_NAME,
    hostname={"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"},
    protocol={"enum": ["HTTP", "HTTPS"]},
    port=_PORT,
    tls=_object(
        ["certificateRefs"],
        mode={"enum": ["Terminate"]},
        certificateRefs={
            "type": "array",
            "minItems": 1,
            "items": _object(["name"], kind={"const": "Secret"}, group={"const": ""}, name=_NAME),
        },
    ),
    allowedRoutes=_object([], namespaces=_object(["from"], **{"from": {"enum": ["All", "Same", "Selector"]}})),
)
GATEWAY_API = {
    "HTTPRoute": _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "gateway.networking.k8s.io/v1"},
        kind={},
        metadata=_METADATA,
        spec=_object(
            ["parentRefs", "rules"],
            parentRefs={"type": "array", "minItems": 1, "maxItems": 32, "items": _object(["name"], name=_NAME)},
            hostnames={"type": "array", "maxItems": 16},
            rules={"type": "array", "minItems": 1, "maxItems": 16, "items": _ROUTE_RULE},
        ),
    ),
    "Gateway": _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "gateway.networking.k8s.io/v1"},
        kind={},
        metadata=_METADATA,
        spec=_object(
            ["gatewayClassName", "listeners"],
            gatewayClassName=_NAME,
            listeners={"type": "array", "minItems": 1, "maxItems": 64, "items": _LISTENER},
        ),
    ),
}


def schema_is_met(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    for document in documents:
        if document.get("kind") in GATEWAY_API:
            checker = jsonschema.Draft202012Validator(GATEWAY_API[document["kind"]])
            for error in checker.iter_errors(document):
                yield f"{name_of(document)}: {error.json_path}: {error.message}"
            continue
        text = json.dumps(document, sort_keys=True)
        yield from (sentence for version in VERSIONS if (sentence := _schema_problem(text, version)))


@functools.cache  # each call reads a megabyte of schemas, and most manifests of two overlays are the same
def _schema_problem(text: str, version: str) -> str | None:
    document = json.loads(text)
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        return f"{name_of(document)}: {where}: {error.message} (Kubernetes {version})"
    except (kubernetes_validate.SchemaNotFoundError, KeyError):
        return f"{name_of(document)}: no schema for {document.get('apiVersion')} in Kubernetes {version}"
    return None


def names_are_unique(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    seen: set[str] = set()
    for document in documents:
        if name_of(document) in seen:
            yield f"{name_of(document)} is there twice"
        seen.add(name_of(document))
        namespace = document["metadata"].get("namespace")
        if document["kind"] != "Namespace" and namespace != "sushu":
            yield f"{name_of(document)} is in namespace {namespace!r}, not in 'sushu'"
