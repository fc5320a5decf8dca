"""The shipped overlays are good, and each rule notices the mistake that it is there for."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.k8s import manifests, overlays, rules

Manifest = dict[str, Any]
Documents = list[Manifest]

pytestmark = pytest.mark.skipif(
    not (shutil.which("kubectl") or shutil.which("kustomize")),
    reason="SKIPPED: neither kubectl nor kustomize is here, so the Kubernetes manifests are not checked",
)


@pytest.fixture(scope="module", params=["local-kafka", "production"])
def env(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def load(env: str, root: Path = overlays.K8S) -> Documents:
    return [document for document in yaml.safe_load_all(overlays.build(env, root)) if document]


@pytest.fixture(scope="module")
def production() -> Documents:
    return load("production")


@pytest.fixture(scope="module")
def local() -> Documents:
    return load("local-kafka")


def expected(env: str) -> manifests.Expected:
    return manifests.Expected(env=env, services=overlays.deployed_services(), routes=overlays.route_table())


def one(documents: Documents, name: str) -> Manifest:
    return next(document for document in documents if manifests.name_of(document) == name)


def spec_of(documents: Documents, name: str) -> Manifest:
    spec: Manifest = manifests.pod_of(one(documents, name))["spec"]
    return spec


def test_shipped_overlay_has_no_problem(env: str) -> None:
    assert rules.check_overlay(env) == []


def test_routes_are_fresh() -> None:
    assert list(overlays.stale_files()) == []


def test_every_service_folder_is_deployed() -> None:
    folders = {path.parent.name for path in (overlays.ROOT / "services").glob("*/__main__.py")}
    assert folders <= set(overlays.deployed_services())


def test_migration_pods_receive_no_traffic(production: Documents) -> None:
    selector = one(production, "Service/sushu-intake")["spec"]["selector"]
    job = manifests.pod_of(one(production, "Job/sushu-migrate-intake"))["metadata"]["labels"]
    assert not manifests.selects(selector, job)


def test_local_stack_has_its_own_database_and_broker(local: Documents) -> None:
    assert {d["metadata"]["name"] for d in manifests.of_kind(local, "StatefulSet")} == {"postgres", "kafka"}


def test_tokens_and_clock_are_routed_locally_alone(local: Documents, production: Documents) -> None:
    def prefixes(documents: Documents) -> set[str]:
        rules = [rule for route in manifests.of_kind(documents, "HTTPRoute") for rule in route["spec"]["rules"]]
        return {match["path"]["value"] for rule in rules for match in rule["matches"]}

    assert prefixes(local) - prefixes(production) == {"/v1/tokens", "/v1/clock"}


def test_metrics_are_not_at_the_public_door(env: str) -> None:
    assert "/metrics" not in "".join(
        match["path"]["value"]
        for route in manifests.of_kind(load(env), "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    )


# --- mistakes: each is made in a copy of the production overlay, and the check must say what is wrong ----------------


def container(documents: Documents, name: str = "Deployment/sushu-intake") -> Manifest:
    found: Manifest = spec_of(documents, name)["containers"][0]
    return found


def drop(documents: Documents, name: str) -> None:
    documents.remove(one(documents, name))


def policy(documents: Documents, service: str = "intake") -> Manifest:
    spec: Manifest = one(documents, f"NetworkPolicy/sushu-{service}")["spec"]
    return spec


def first_match(documents: Documents) -> Manifest:
    path: Manifest = one(documents, "HTTPRoute/sushu-intake")["spec"]["rules"][0]["matches"][0]["path"]
    return path


def settings(documents: Documents) -> Manifest:
    data: Manifest = manifests.of_kind(documents, "ConfigMap")[0]["data"]
    return data


MISTAKES: dict[str, tuple[Callable[[Documents], Any], str]] = {
    "a probe is missing": (lambda d: container(d).pop("livenessProbe"), "has no livenessProbe"),
    "a probe asks another service": (
        lambda d: container(d)["readinessProbe"]["httpGet"].update(path="/ops/sla/health/ready"),
        "readiness probe asks /ops/sla/health/ready",
    ),
    "a probe asks a port that is not open": (
        lambda d: container(d)["startupProbe"]["httpGet"].update(port="web"),
        "asks port 'web'",
    ),
    "a field is misspelt": (lambda d: container(d).update(redinessProbe={}), "redinessProbe"),
    "a number is a string": (
        lambda d: one(d, "HorizontalPodAutoscaler/sushu-sla")["spec"].update(maxReplicas="6"),
        "is not of type 'integer'",
    ),
    "an unknown kind": (lambda d: d[0].update(apiVersion="v9", kind="Nonsense"), "no schema for v9"),
    "no memory limit": (lambda d: container(d)["resources"]["limits"].pop("memory"), "has no limits.memory"),
    "an unbounded scratch volume": (
        lambda d: spec_of(d, "Deployment/sushu-sla")["volumes"][0].update(emptyDir={}),
        "has no sizeLimit",
    ),
    "the image is latest": (lambda d: container(d).update(image="sushu:latest"), "has no fixed tag"),
    "the image has no tag": (lambda d: container(d).update(image="mirror:5000/sushu"), "has no fixed tag"),
    "runs as root": (
        lambda d: spec_of(d, "Deployment/sushu-sla")["securityContext"].update(runAsUser=0),
        "may run as root",
    ),
    "writable root": (
        lambda d: container(d)["securityContext"].update(readOnlyRootFilesystem=False),
        "can write to its root file system",
    ),
    "keeps capabilities": (
        lambda d: container(d)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
        "keeps capabilities",
    ),
    "gets an API token": (
        lambda d: spec_of(d, "Deployment/sushu-sla").update(automountServiceAccountToken=True),
        "gets a token",
    ),
    "no disruption budget": (
        lambda d: drop(d, "PodDisruptionBudget/sushu-sla"),
        "has no PodDisruptionBudget/sushu-sla",
    ),
    "no network policy": (lambda d: drop(d, "NetworkPolicy/sushu-sla"), "has no NetworkPolicy/sushu-sla"),
    "no migration": (lambda d: drop(d, "Job/sushu-migrate-sla"), "has no Job/sushu-migrate-sla"),
    "no autoscaler": (lambda d: drop(d, "HorizontalPodAutoscaler/sushu-sla"), "has no HorizontalPodAutoscaler"),
    "a budget that blocks draining": (
        lambda d: one(d, "PodDisruptionBudget/sushu-sla")["spec"].update(minAvailable=1),
        "minAvailable blocks draining",
    ),
    "the namespace is open": (lambda d: drop(d, "NetworkPolicy/default-deny"), "no default-deny"),
    "a rule without a peer": (lambda d: policy(d)["egress"][0].pop("to"), "opens everything"),
    "a rule for the whole network": (
        lambda d: policy(d)["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}),
        "opens the whole network",
    ),
    "no way to the database": (
        lambda d: policy(d).update(egress=[r for r in policy(d)["egress"] if r["ports"][0]["port"] != 5432]),
        "does not let the service reach PostgreSQL",
    ),
    "a Service without pods": (
        lambda d: one(d, "Service/sushu-sla")["spec"]["selector"].update(runs="nothing"),
        "selects nothing",
    ),
    "a Service over two workloads": (
        lambda d: one(d, "Service/sushu-sla")["spec"]["selector"].pop("runs"),
        "must select one workload",
    ),
    "runs another service": (lambda d: container(d).update(args=["services.sla"]), "runs ['services.sla']"),
    "settings that are not there": (
        lambda d: container(d)["envFrom"][0]["configMapRef"].update(name="gone"),
        "refers to ConfigMap/gone",
    ),
    "a mount without a volume": (
        lambda d: container(d)["volumeMounts"].append({"name": "gone", "mountPath": "/gone"}),
        "mounts gone",
    ),
    "a route to nowhere": (
        lambda d: one(d, "HTTPRoute/sushu-intake")["spec"]["rules"][0]["backendRefs"][0].update(name="gone"),
        "sends to gone",
    ),
    "a route with a query": (lambda d: first_match(d).update(value="/v1/appeals?x=1"), "does not match"),
    "a segment that went missing": (lambda d: first_match(d).update(value="/v1/appeal"), "/v1/appeals goes to None"),
    "local tokens in production": (lambda d: first_match(d).update(value="/v1/tokens"), "exists on local stacks only"),
    "a password in the settings": (
        lambda d: settings(d).update(SUSHU_DB_PASSWORD="changeme"),
        "is a secret with a value",
    ),
    "a password in an address": (
        lambda d: settings(d).update(DATABASE="postgresql://" + "sushu:sushu@db/sushu"),
        "holds a password in an address",
    ),
    "a Secret with values": (
        lambda d: d.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "s", "namespace": "sushu"},
                "stringData": {"a": "b"},
            }
        ),
        "ships values",
    ),
    "the turned clock in production": (lambda d: settings(d).update(SUSHU_SIM_CLOCK="1"), "local stacks only"),
    "production without its refusals": (lambda d: settings(d).update(SUSHU_ENV="local"), "refusals are off"),
    "the demo city in production": (lambda d: settings(d).pop("SUSHU_CITY"), "is the demo city"),
    "plain HTTP in production": (
        lambda d: one(d, "Gateway/sushu")["spec"]["listeners"][0].update(protocol="HTTP"),
        "speaks without TLS",
    ),
    "fixed replicas beside an autoscaler": (
        lambda d: one(d, "Deployment/sushu-sla")["spec"].update(replicas=1),
        "would undo the autoscaler",
    ),
    "not spread": (
        lambda d: spec_of(d, "Deployment/sushu-sla").pop("topologySpreadConstraints"),
        "are not spread",
    ),
    "the same object twice": (lambda d: d.append(copy.deepcopy(d[-1])), "is there twice"),
    "another namespace": (lambda d: d[-1]["metadata"].update(namespace="default"), "not in 'sushu'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_names_the_mistake(mistake: str, production: Documents) -> None:
    make, sentence = MISTAKES[mistake]
    documents = copy.deepcopy(production)
    make(documents)
    found = rules.problems(documents, expected("production"))
    assert any(sentence in problem for problem in found), found


def test_database_in_production_is_refused(local: Documents) -> None:
    assert any("ships none" in problem for problem in rules.problems(local, expected("production")))


def test_only_classify_reads_the_language_models_key_and_starts_without_it(production: Documents) -> None:
    readers = {}
    for document in manifests.of_kind(production, *manifests.WORKLOADS):
        for container in manifests.containers_of(document):
            for variable in container.get("env", []):
                if variable["name"] == "SUSHU_LLM_KEY":
                    readers[manifests.name_of(document)] = variable["valueFrom"]["secretKeyRef"]
    assert readers == {"Deployment/sushu-classify": {"name": "sushu-llm", "key": "key", "optional": True}}


# --- the whole way: files on disk, kustomize, check -------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(overlays.K8S, tmp_path / "k8s")
    return tmp_path / "k8s"


def test_mistake_in_a_file_is_found_through_kustomize(tree: Path) -> None:
    patch = tree / "services" / "sla" / "patch.yaml"
    patch.write_text(patch.read_text("utf-8").replace("memory: 512Mi", "memory: null"), "utf-8")
    assert "has no limits.memory" in "".join(rules.check_overlay("production", tree))


def test_edited_route_file_is_stale(tree: Path) -> None:
    routes = tree / "services" / "routes.yaml"
    routes.write_text(routes.read_text("utf-8").replace("/v1/appeals", "/v1/cases"), "utf-8")
    assert any("does not follow deploy/routes.yaml" in sentence for sentence in overlays.stale_files(tree))


def test_broken_kustomization_says_which_overlay(tree: Path) -> None:
    (tree / "overlays" / "production" / "network.yaml").unlink()
    with pytest.raises(RuntimeError, match="overlay production"):
        overlays.build("production", tree)


def test_unknown_overlay_lists_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="local-kafka, production"):
        overlays.build("staging")


def test_scaffolded_service_is_complete(tree: Path) -> None:
    overlays.write_service("weather", tree)
    documents = load("production", tree)
    known = manifests.Expected("production", overlays.deployed_services(tree), overlays.route_table())
    assert "weather" in known.services
    assert rules.problems(documents, known) == []
