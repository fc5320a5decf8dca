"""Kubernetes manifests: render an overlay, generate the routes, and refuse what a cluster should not see.

    python -m tools.k8s render local-kafka     print one overlay as YAML
    python -m tools.k8s routes                 write the HTTPRoutes from deploy/routes.yaml
    python -m tools.k8s scaffold hot-lines     write deploy/k8s/services/<name> for a new service
    python -m tools.k8s check                  validate every overlay, strictly and offline

The manifests are plain kustomize; this tool only calls `kubectl kustomize` and reads what comes out.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tools.k8s import overlays

app = typer.Typer(help="Kubernetes manifests of Sushu.", no_args_is_help=True, add_completion=False)


@app.command()
def render(env: Annotated[str, typer.Argument(help="overlay: local-kafka or production")]) -> None:
    """Print one overlay as YAML."""
    try:
        sys.stdout.write(overlays.build(env))
    except (overlays.ToolMissing, FileNotFoundError, RuntimeError) as error:
        typer.echo(f"k8s-render: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def routes() -> None:
    """Write the HTTPRoutes from deploy/routes.yaml."""
    for path, text in overlays.generated_routes().items():
        path.write_text(text, "utf-8")
        typer.echo(f"wrote {path.relative_to(overlays.ROOT)}")


@app.command()
def scaffold(name: Annotated[str, typer.Argument(help="service name, as in services/<name>")]) -> None:
    """Write the folder of a new service, add it to the list and refresh the routes."""
    try:
        overlays.write_service(name)
    except FileExistsError:
        typer.echo(f"deploy/k8s/services/{name} is there already", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote deploy/k8s/services/{name}: set its size in patch.yaml, then run `make k8s-check`")


@app.command()
def check() -> None:
    """Validate every overlay, strictly and offline; exit 1 when anything is wrong."""
    from tools.k8s import rules, schemas  # the schemas are a development dependency, which rendering does not need

    try:
        found = {"routes": list(overlays.stale_files())}
        found |= {env: rules.check_overlay(env) for env in overlays.names()}
    except (overlays.ToolMissing, RuntimeError) as error:
        typer.echo(f"k8s-check: {error}", err=True)
        raise typer.Exit(2) from None
    for part, sentences in found.items():
        typer.echo(f"{part}: {f'{len(sentences)} problem(s)' if sentences else 'ok'}")
        for sentence in sentences:
            typer.echo(f"  {sentence}")
    typer.echo(f"validated against Kubernetes {', '.join(schemas.VERSIONS)} and our own rules")
    raise typer.Exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    app()
