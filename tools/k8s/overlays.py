"""Build the overlays with kustomize, and write what follows from the route table and the list of services."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from tools.k8s.manifests import Manifest, Route

ROOT = Path(__file__).resolve().parent.parent.parent
K8S = ROOT / "deploy" / "k8s"
ROUTE_TABLE = ROOT / "deploy" / "routes.yaml"


class ToolMissing(Exception):
    """Neither kubectl nor kustomize is on the machine."""


def route_table(path: Path = ROUTE_TABLE) -> dict[str, Route]:
    """The route table by service name, in the order of the file."""
    services = yaml.safe_load(path.read_text("utf-8"))["services"]
    return {
        name: Route(
            name,
            tuple(row.get("segments", ())),
            tuple(row.get("local_only", ())),
            tuple(row.get("paths", ())),
        )
        for name, row in services.items()
    }


def deployed_services(root: Path = K8S) -> list[str]:
    """Names of the services that ``services/kustomization.yaml`` lists."""
    listed: list[str] = yaml.safe_load((root / "services" / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [name for name in listed if not name.endswith(".yaml")]


def names(root: Path = K8S) -> list[str]:
    return sorted(path.parent.name for path in (root / "overlays").glob("*/kustomization.yaml"))


def kustomize_command() -> list[str]:
    """The command that builds a kustomization, or :class:`ToolMissing` with what to install."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            return command
    raise ToolMissing("kubectl (>= 1.27) or kustomize (>= 5) is needed to render the manifests; install one of them")


def build(env: str, root: Path = K8S) -> str:
    """The YAML of one overlay, exactly as a cluster would get it."""
    folder = root / "overlays" / env
    if not (folder / "kustomization.yaml").is_file():
        raise FileNotFoundError(f"no overlay {env!r}; there are: {', '.join(names(root))}")
    done = subprocess.run([*kustomize_command(), str(folder)], capture_output=True, text=True, check=False)  # noqa: S603 - fixed command
    if done.returncode:
        raise RuntimeError(f"overlay {env}: {done.stderr.strip()}")
    return done.stdout


def http_route(service: str, suffix: str, prefixes: list[str]) -> Manifest:
    """An HTTPRoute that sends ``prefixes`` to the Service of ``service``."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": f"sushu-{service}{suffix}",
            "labels": {"app.kubernetes.io/name": "sushu", "app.kubernetes.io/component": service},
        },
        "spec": {
            "parentRefs": [{"name": "sushu"}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": prefix}} for prefix in prefixes],
                    "backendRefs": [{"name": f"sushu-{service}", "port": 8080}],
                }
            ],
        },
    }


def generated_routes(root: Path = K8S) -> dict[Path, str]:
    """Every file that follows from the route table, with its content."""
    header = "# Generated from deploy/routes.yaml by `python -m tools.k8s routes`; change that file instead.\n"
    table = route_table()
    # a service without a line of its own in the table still serves its operations
    deployed = [table.get(name, Route(name, (), (), ())) for name in deployed_services(root)]
    public = [http_route(route.service, "", route.public_prefixes()) for route in deployed]
    local = [
        http_route(route.service, "-local", [f"/v1/{segment}" for segment in route.local_only])
        for route in deployed
        if route.local_only
    ]

    def text(documents: list[Manifest]) -> str:
        return header + yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True)

    return {
        root / "services" / "routes.yaml": text(public),
        root / "overlays" / "local-kafka" / "routes.yaml": text(local),
    }


def write_service(name: str, root: Path = K8S) -> None:
    """Write ``services/<name>``, add it to the list and refresh the routes; `FileExistsError` when it is there."""
    folder = root / "services" / name
    folder.mkdir()
    for source in sorted((root / "services" / "journal").iterdir()):
        (folder / source.name).write_text(source.read_text("utf-8").replace("journal", name), "utf-8")
    listing = root / "services" / "kustomization.yaml"
    listing.write_text(
        listing.read_text("utf-8").replace("  - routes.yaml\n", f"  - {name}\n  - routes.yaml\n"), "utf-8"
    )
    for path, text in generated_routes(root).items():
        path.write_text(text, "utf-8")


def stale_files(root: Path = K8S) -> Iterator[str]:
    for path, text in generated_routes(root).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            yield f"{path.relative_to(root)} does not follow deploy/routes.yaml; run `python -m tools.k8s routes`"
