"""What each service must have, and how each pod must run."""

from __future__ import annotations

from collections.abc import Iterator

from tools.k8s.manifests import WORKLOADS, Expected, Manifest, containers_of, name_of, of_kind, pod_of, selects

COMPONENT = "app.kubernetes.io/component"


def every_service_is_complete(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    there = {name_of(document) for document in documents}
    for service in expected.services:
        kinds = ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy", "HTTPRoute")
        wanted = [*(f"{kind}/sushu-{service}" for kind in kinds), f"Job/sushu-migrate-{service}"]
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
            # `for=http`: a service whose bus is away still accepts, so it must not lose its traffic
            for probe, path in (("startup", "live"), ("liveness", "live"), ("readiness", "ready?for=http")):
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
