"""Kubernetes manifests: render an overlay, generate the routes, and refuse what a cluster should not see.

    python -m tools.k8s render local-kafka     print one overlay as YAML
    python -m tools.k8s routes                 write the HTTPRoutes from deploy/routes.yaml
    python -m tools.k8s scaffold hot-lines     write deploy/k8s/services/<name> for a new service
    python -m tools.k8s check                  validate every overlay, strictly and offline

The manifests are plain kustomize; this tool only calls `kubectl kustomize` and reads what comes out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from tools import k8s_rules

ROOT = Path(__file__).resolve().parent.parent
K8S = ROOT / "deploy" / "k8s"
ROUTE_TABLE = ROOT / "deploy" / "routes.yaml"
Manifest = dict[str, Any]

# What a service answers below /ops/<service>/ for people (api.md, Routes). `metrics` is left out: it is scraped inside
# the cluster and has no business at the public door.
OPERATIONS = ("health", "openapi.json", "docs", "dead-letters", "reconcile", "audit")

app = typer.Typer(help="Kubernetes manifests of Sushu.", no_args_is_help=True, add_completion=False)


class ToolMissing(Exception):
    """Neither kubectl nor kustomize is on the machine."""


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


def overlays(root: Path = K8S) -> list[str]:
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
        raise FileNotFoundError(f"no overlay {env!r}; there are: {', '.join(overlays(root))}")
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


@app.command()
def render(env: Annotated[str, typer.Argument(help="overlay: local-kafka or production")]) -> None:
    """Print one overlay as YAML."""
    try:
        sys.stdout.write(build(env))
    except (ToolMissing, FileNotFoundError, RuntimeError) as error:
        typer.echo(f"k8s-render: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def routes() -> None:
    """Write the HTTPRoutes from deploy/routes.yaml."""
    for path, text in generated_routes().items():
        path.write_text(text, "utf-8")
        typer.echo(f"wrote {path.relative_to(ROOT)}")


@app.command()
def scaffold(name: Annotated[str, typer.Argument(help="service name, as in services/<name>")]) -> None:
    """Write the folder of a new service, add it to the list and refresh the routes."""
    folder = K8S / "services" / name
    if folder.exists():
        typer.echo(f"{folder.relative_to(ROOT)} is there already", err=True)
        raise typer.Exit(2)
    folder.mkdir()
    pattern = K8S / "services" / "journal"
    for source in sorted(pattern.iterdir()):
        (folder / source.name).write_text(source.read_text("utf-8").replace("journal", name), "utf-8")
    listing = K8S / "services" / "kustomization.yaml"
    text = listing.read_text("utf-8")
    listing.write_text(text.replace("  - routes.yaml\n", f"  - {name}\n  - routes.yaml\n"), "utf-8")
    routes()
    typer.echo(f"wrote {folder.relative_to(ROOT)}: set its size in patch.yaml, then run the check")


def stale_files(root: Path = K8S) -> Iterator[str]:
    for path, text in generated_routes(root).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            yield f"{path.relative_to(root)} does not follow deploy/routes.yaml; run `python -m tools.k8s routes`"


def check_overlay(env: str, root: Path = K8S) -> list[str]:
    """Everything wrong with one overlay, one sentence each; empty when it is good."""
    documents = [document for document in yaml.safe_load_all(build(env, root)) if document]
    expected = k8s_rules.Expected(env=env, services=deployed_services(root), routes=route_table())
    return k8s_rules.problems(documents, expected)


@app.command()
def check() -> None:
    """Validate every overlay, strictly and offline; exit 1 when anything is wrong."""
    parts: list[tuple[str, Callable[[], list[str]]]] = [("routes", lambda: list(stale_files()))]
    parts += [(env, lambda env=env: check_overlay(env)) for env in overlays()]  # type: ignore[misc]
    wrong = 0
    try:
        for name, run in parts:
            found = run()
            wrong += len(found)
            typer.echo(f"{name}: {'ok' if not found else f'{len(found)} problem(s)'}")
            for sentence in found:
                typer.echo(f"  {sentence}")
    except ToolMissing as error:
        typer.echo(f"k8s-check: {error}", err=True)
        raise typer.Exit(2) from None
    except RuntimeError as error:
        typer.echo(f"k8s-check: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"validated against Kubernetes {', '.join(k8s_rules.VERSIONS)} and our own rules")
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    app()
