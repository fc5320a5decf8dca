"""What must hold for every rendered overlay. Each rule is a function from manifests to sentences.

The schemas of Kubernetes' own kinds come from ``kubernetes-validate`` (strict: no unknown field); those of the Gateway
API are custom resources, so the part of them that we use is stated here, after gateway.networking.k8s.io/v1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jsonschema
import kubernetes_validate

Manifest = dict[str, Any]
VERSIONS = ("1.30", "1.34", "1.37")
"""The oldest cluster that we promise, a common one, and the newest whose schemas are bundled."""

WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob", "DaemonSet")
COMPONENT = "app.kubernetes.io/component"
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE|CREDENTIAL|(^|_)KEY($|_)", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
LOCAL_ONLY_SETTINGS = ("SUSHU_SIM_CLOCK", "SUSHU_ADMIN_TOKEN", "SUSHU_DEMO_STREAM")
"""Settings that production refuses (api.md, Local stack); a manifest must not even carry them."""


class RouteLike(Protocol):
    """What the rules need of a line of the route table."""

    @property
    def local_only(self) -> tuple[str, ...]: ...

    def public_prefixes(self) -> list[str]: ...


@dataclass(frozen=True)
class Expected:
    """What an overlay has to contain: its name, the deployed services, and the route table."""

    env: str
    services: list[str]
    routes: Mapping[str, RouteLike]

    @property
    def production(self) -> bool:
        return self.env == "production"


def problems(documents: list[Manifest], expected: Expected) -> list[str]:
    """Every broken rule of one rendered overlay, as sentences that name the object and the remedy."""
    found: list[str] = []
    for rule in RULES:
        found += rule(documents, expected)
    return found


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


# --- schemas -----------------------------------------------------------------------------------------------------


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
    backendRefs={"type": "array", "minItems": 1, "maxItems": 16, "items": _object(["name", "port"], name=_NAME, port=_PORT)},
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
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(str(part) for part in error.absolute_path)
                yield f"{name_of(document)}: {where}: {error.message} (Kubernetes {version})"
            except (kubernetes_validate.SchemaNotFoundError, KeyError):
                yield f"{name_of(document)}: no schema for {document.get('apiVersion')} in Kubernetes {version}"


def names_are_unique(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    seen: set[str] = set()
    for document in documents:
        if name_of(document) in seen:
            yield f"{name_of(document)} is there twice"
        seen.add(name_of(document))
        namespace = document["metadata"].get("namespace")
        if document["kind"] != "Namespace" and namespace != "sushu":
            yield f"{name_of(document)} is in namespace {namespace!r}, not in 'sushu'"


# --- what each service must have ---------------------------------------------------------------------------------


def every_service_is_complete(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    there = {name_of(document) for document in documents}
    for service in expected.services:
        wanted = [f"{kind}/sushu-{service}" for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget")]
        wanted += [f"NetworkPolicy/sushu-{service}", f"HTTPRoute/sushu-{service}", f"Job/sushu-migrate-{service}"]
        if expected.production:
            wanted.append(f"HorizontalPodAutoscaler/sushu-{service}")
        for name in wanted:
            if name not in there:
                yield f"service {service} has no {name}"


def commands_name_their_service(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    """A pod that is labelled as one service and runs, or is probed as, another."""
    for document in of_kind(documents, "Deployment", "Job"):
        service = document["metadata"].get("labels", {}).get(COMPONENT)
        if service not in expected.services:
            yield f"{name_of(document)} belongs to no known service (label {COMPONENT}: {service})"
            continue
        wanted = {"service": [f"services.{service}"]}
        wanted |= {"migrate": [f"services.{service}", "migrate"], "setup": [f"services.{service}", "setup"]}
        for container in containers_of(document):
            if container.get("args") != wanted.get(container["name"]):
                yield f"{name_of(document)}: container {container['name']} runs {container.get('args')}"
            for probe, path in (("startup", "live"), ("liveness", "live"), ("readiness", "ready")):
                actual = container.get(f"{probe}Probe", {}).get("httpGet", {}).get("path")
                if actual not in (None, f"/ops/{service}/health/{path}"):
                    yield f"{name_of(document)}: {probe} probe asks {actual}, not /ops/{service}/health/{path}"


def probes_are_present(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    for document in of_kind(documents, "Deployment", "StatefulSet"):
        for container in pod_of(document)["spec"]["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                given = container.get(probe)
                if not given or not ({"httpGet", "tcpSocket", "exec", "grpc"} & given.keys()):
                    yield f"{name_of(document)}: container {container['name']} has no {probe}"
            ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if isinstance(port, str) and port not in ports:
                    yield f"{name_of(document)}: {probe} asks port {port!r}, which the container does not open"


def resources_are_bounded(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    for document in of_kind(documents, *WORKLOADS):
        for container in containers_of(document):
            resources = container.get("resources", {})
            for side in ("requests", "limits"):
                for what in ("cpu", "memory"):
                    if what not in resources.get(side, {}):
                        yield f"{name_of(document)}: container {container['name']} has no {side}.{what}"
            for volume in pod_of(document)["spec"].get("volumes", []):
                if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                    yield f"{name_of(document)}: emptyDir {volume['name']} has no sizeLimit"


def pods_are_restricted(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    """Pod security standard 'restricted', a read-only root and no API token."""
    for document in of_kind(documents, *WORKLOADS):
        pod = pod_of(document)["spec"]
        context = pod.get("securityContext", {})
        name = name_of(document)
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name}: the pod may run as root (runAsNonRoot and a runAsUser above 0 are needed)"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: seccompProfile is not RuntimeDefault"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: the pod gets a token for the Kubernetes API"
        if pod.get("serviceAccountName", "default") == "default":
            yield f"{name}: the pod has no service account of its own"
        for flag in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(flag):
                yield f"{name}: {flag} is on"
        for container in containers_of(document):
            own = container.get("securityContext", {})
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: container {container['name']} can write to its root file system"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{name}: container {container['name']} can gain privileges"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
                yield f"{name}: container {container['name']} keeps capabilities"


def images_are_pinned(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    for document in of_kind(documents, *WORKLOADS):
        for container in containers_of(document):
            image = container["image"]
            tag = image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[2]
            if "@sha256:" not in image and tag in ("", "latest"):
                yield f"{name_of(document)}: image {image} has no fixed tag"


def pods_are_spread(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    for document in of_kind(documents, "Deployment"):
        labels = pod_of(document)["metadata"]["labels"]
        constraints = pod_of(document)["spec"].get("topologySpreadConstraints", [])
        matching = [c for c in constraints if selects(c["labelSelector"]["matchLabels"], labels)]
        if not matching:
            yield f"{name_of(document)}: its pods are not spread over nodes and zones"


# --- objects that point at each other ----------------------------------------------------------------------------


def selectors_find_their_pods(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    pods = {name_of(d): pod_of(d)["metadata"]["labels"] for d in of_kind(documents, *WORKLOADS)}
    serving = {name: labels for name, labels in pods.items() if not name.startswith(("Job/", "CronJob/"))}
    for service in of_kind(documents, "Service"):
        found = [name for name, labels in pods.items() if selects(service["spec"].get("selector", {}), labels)]
        if len(found) != 1 or found[0] not in serving:
            yield f"{name_of(service)} selects {found or 'nothing'}; it must select one workload that serves"
    for budget in of_kind(documents, "PodDisruptionBudget"):
        found = [n for n, labels in pods.items() if selects(budget["spec"]["selector"]["matchLabels"], labels)]
        if len(found) != 1:
            yield f"{name_of(budget)} covers {found or 'nothing'}; it must cover one workload"
        if budget["spec"].get("minAvailable") is not None:
            yield f"{name_of(budget)}: minAvailable blocks draining a node when there is one replica"
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        deployment = next((d for d in documents if name_of(d) == f"{target['kind']}/{target['name']}"), None)
        if deployment is None:
            yield f"{name_of(scaler)} scales {target['name']}, which is not there"
        elif "replicas" in deployment["spec"]:
            yield f"{name_of(deployment)}: `replicas` would undo the autoscaler at every apply"
        if scaler["spec"].get("minReplicas", 1) < 2:
            yield f"{name_of(scaler)}: fewer than two replicas cannot survive the loss of a node"


def network_is_closed(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    policies = of_kind(documents, "NetworkPolicy")
    both = {"Ingress", "Egress"}
    if not any(
        policy["spec"].get("podSelector") == {}
        and set(policy["spec"].get("policyTypes", [])) == both
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
        for policy in policies
    ):
        yield "there is no default-deny NetworkPolicy for the namespace"
    for workload in of_kind(documents, *WORKLOADS):
        labels = pod_of(workload)["metadata"]["labels"]
        own = [p for p in policies if p["spec"]["podSelector"].get("matchLabels")]
        own = [p for p in own if selects(p["spec"]["podSelector"]["matchLabels"], labels)]
        if len(own) != 1:
            yield f"{name_of(workload)} is covered by {len(own)} NetworkPolicies of its own; there must be one"
    for policy in policies:
        for direction, peer in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                if not rule.get(peer) or not rule.get("ports"):
                    yield f"{name_of(policy)}: an {direction} rule names no peer or no port, so it opens everything"
                for block in rule.get(peer, []):
                    if block.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0"):
                        yield f"{name_of(policy)}: an {direction} rule opens the whole network"
    for service in expected.services:
        policy = next((p for p in policies if p["metadata"]["name"] == f"sushu-{service}"), None)
        ports = {port["port"] for rule in (policy or {}).get("spec", {}).get("egress", []) for port in rule["ports"]}
        if not ports & {5432, 6432}:
            yield f"NetworkPolicy/sushu-{service} does not let the service reach PostgreSQL"
        if not ports & {9092, 9093, 9094}:
            yield f"NetworkPolicy/sushu-{service} does not let the service reach Kafka"


def references_exist(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    there = {name_of(document) for document in documents}
    for workload in of_kind(documents, *WORKLOADS):
        pod = pod_of(workload)["spec"]
        wanted = [f"ServiceAccount/{pod.get('serviceAccountName')}"]
        wanted += [f"ConfigMap/{v['configMap']['name']}" for v in pod.get("volumes", []) if "configMap" in v]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        claims = [v["persistentVolumeClaim"]["claimName"] for v in pod.get("volumes", []) if "persistentVolumeClaim" in v]
        wanted += [f"PersistentVolumeClaim/{claim}" for claim in claims]
        for container in containers_of(workload):
            sources = container.get("envFrom", [])
            wanted += [f"ConfigMap/{source['configMapRef']['name']}" for source in sources if "configMapRef" in source]
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name_of(workload)}: container {container['name']} mounts {mount['name']}, which is no volume"
        for name in wanted:
            if name not in there:
                yield f"{name_of(workload)} refers to {name}, which is not there"


def routes_follow_the_table(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    """Every prefix of the table reaches its service, no other does, and local paths stay local."""
    services = {document["metadata"]["name"] for document in of_kind(documents, "Service")}
    gateways = {document["metadata"]["name"] for document in of_kind(documents, "Gateway")}
    owner: dict[str, str] = {}
    for route in of_kind(documents, "HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            if parent["name"] not in gateways:
                yield f"{name_of(route)} hangs on gateway {parent['name']}, which is not there"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if backend["name"] not in services:
                    yield f"{name_of(route)} sends to {backend['name']}, which is not there"
            for match in rule["matches"]:
                prefix = match["path"]["value"]
                if prefix in owner:
                    yield f"{name_of(route)}: {prefix} is routed twice"
                owner[prefix] = rule["backendRefs"][0]["name"]
    for service in expected.services:
        line = expected.routes.get(service)
        for prefix in line.public_prefixes() if line else ():
            if owner.get(prefix) != f"sushu-{service}":
                yield f"{prefix} goes to {owner.get(prefix)}, not to sushu-{service}"
        for segment in line.local_only if line else ():
            if expected.production and f"/v1/{segment}" in owner:
                yield f"/v1/{segment} exists on local stacks only and is routed in production"


# --- secrets and production --------------------------------------------------------------------------------------


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
        data = document.get("data", {})
        if "KAFKA_BOOTSTRAP_SERVERS" in data and data.get("SUSHU_ENVIRONMENT") != "production":
            yield f"{name_of(document)}: SUSHU_ENVIRONMENT is not 'production', so production's refusals are off"
    for gateway in of_kind(documents, "Gateway"):
        for listener in gateway["spec"]["listeners"]:
            if listener["protocol"] != "HTTPS" or not listener.get("tls"):
                yield f"{name_of(gateway)}: listener {listener['name']} speaks without TLS"


RULES: tuple[Callable[[list[Manifest], Expected], Iterator[str]], ...] = (
    schema_is_met,
    names_are_unique,
    every_service_is_complete,
    commands_name_their_service,
    probes_are_present,
    resources_are_bounded,
    pods_are_restricted,
    images_are_pinned,
    pods_are_spread,
    selectors_find_their_pods,
    network_is_closed,
    references_exist,
    routes_follow_the_table,
    secrets_are_outside,
    production_is_production,
)
