"""Objects that point at each other: selectors, policies, references, routes."""

from __future__ import annotations

from collections.abc import Iterator

from tools.k8s.manifests import WORKLOADS, Expected, Manifest, containers_of, name_of, of_kind, pod_of, selects


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
        own = [p for p in policies if p["metadata"]["name"] == f"sushu-{service}"]
        ports = {port["port"] for p in own for rule in p["spec"].get("egress", []) for port in rule.get("ports", [])}
        if not ports & {5432, 6432}:
            yield f"NetworkPolicy/sushu-{service} does not let the service reach PostgreSQL"
        if not ports & {9092, 9093, 9094}:
            yield f"NetworkPolicy/sushu-{service} does not let the service reach Kafka"


WRITTEN_BY_THE_CITY = frozenset({"ConfigMap/sushu-city"})
"""What an overlay may refer to and not ship; each is explained in deploy/k8s/README.md."""


def references_exist(documents: list[Manifest], expected: Expected) -> Iterator[str]:
    there = {name_of(document) for document in documents}
    for workload in of_kind(documents, *WORKLOADS):
        pod = pod_of(workload)["spec"]
        wanted = [f"ServiceAccount/{pod.get('serviceAccountName')}"]
        wanted += [f"ConfigMap/{v['configMap']['name']}" for v in pod.get("volumes", []) if "configMap" in v]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        claims = [v["persistentVolumeClaim"] for v in pod.get("volumes", []) if "persistentVolumeClaim" in v]
        wanted += [f"PersistentVolumeClaim/{claim['claimName']}" for claim in claims]
        for container in containers_of(workload):
            sources = container.get("envFrom", [])
            wanted += [f"ConfigMap/{source['configMapRef']['name']}" for source in sources if "configMapRef" in source]
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name_of(workload)}: {container['name']} mounts {mount['name']}, which is no volume"
        for name in wanted:
            if name not in there and name not in WRITTEN_BY_THE_CITY:
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
