"""A PostgreSQL and processes of services that a bench may kill, hold still and start again."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import yaml

from shared.city import CITIES
from shared.clock import SystemClock
from shared.service.process import build_service, ensure_topics, migrate_service
from shared.settings import Settings
from shared.testing.postgres import url_of
from shared.transport.embedded import EmbeddedTransport
from tests.bench.server import Server
from tests.bench.stack import ROOT, TOKEN, free_port

START_S = 60.0


@dataclass
class Replica:
    """One process of a service. Killed and started again it keeps its port and its figures."""

    service: str
    url: str
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    rss_mb: float = 0.0
    _past_cpu_s: float = 0.0
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Begin; `wait_ready` tells when it works."""
        with (self.folder / f"{self.service}-{self.port}.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.service}"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DATABASE_URL": self.url,
                    "SUSHU_DATA_DIR": str(self.folder),
                    "SUSHU_SERVICE_PORT": str(self.port),
                    "SUSHU_ADMIN_TOKEN": TOKEN,
                    "SUSHU_DEMO_STREAM": "off",
                    **self.variables,
                },
                stdout=output,
                stderr=output,
            )

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, seconds: float = START_S) -> None:
        """Raises `RuntimeError` when it does not answer in time."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            try:
                with urllib.request.urlopen(f"{self.address}/ops/{self.service}/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.service} was not ready after {seconds} s: see {self.folder}")

    def cpu_s(self) -> float:
        """CPU seconds so far, those of its earlier lives included; looks at its memory by the way."""
        if not self.alive:
            return self._past_cpu_s
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        times = process.cpu_times()
        self.rss_mb = max(self.rss_mb, process.memory_info().rss / 1e6)
        return self._past_cpu_s + float(times.user + times.system)

    def kill(self) -> None:
        """SIGKILL: nothing is ended, nothing is said."""
        if self.alive:
            assert self._process is not None
            self._past_cpu_s = self.cpu_s()
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        if self.alive:
            assert self._process is not None
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()


@contextmanager
def replicas(service: str, count: int, url: str, folder: Path, **variables: str) -> Iterator[list[Replica]]:
    """`count` processes of a service, ready; ended at the end."""
    found = [Replica(service, url, folder, variables) for _ in range(count)]
    try:
        for one in found:
            one.start()
        for one in found:
            one.wait_ready()
        yield found
    finally:
        for one in found:
            one.end()


def city_with(folder: Path, complete: str, levels: tuple[str, str, str]) -> Path:
    """The demo city, where class urgent has this `complete` limit (natural time) and these levels after due; no other
    clock of the class falls due within a year."""
    city = folder / "city"
    if not city.exists():
        shutil.copytree(CITIES / "demo", city)
    policy = yaml.safe_load((ROOT / "services" / "sla" / "policies" / "default.yaml").read_text(encoding="utf-8"))
    urgent = policy["classes"]["urgent"]
    urgent |= {clock: {"natural": "P365D"} for clock in urgent if clock != "levels"}
    urgent |= {"complete": {"natural": complete}, "levels": list(levels)}
    profile = yaml.safe_load((CITIES / "demo" / "profile.yaml").read_text(encoding="utf-8"))
    (city / "profile.yaml").write_text(yaml.safe_dump(profile | {"sla": {"policy": policy}}), encoding="utf-8")
    return city


async def fresh_database(server: Server, folder: Path, *services: str) -> str:
    """A new database with the topics and the schemas of services, set up; its URL."""
    name = f"bench_{os.getpid()}_{int(time.time())}"
    admin: Any = await asyncpg.connect(server.url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = url_of(server.url, name)
    settings = Settings(database_url=url, data_dir=folder, admin_token=TOKEN)
    transport = EmbeddedTransport(url)
    await transport.start()
    try:
        await ensure_topics(transport)
        for service in services:
            await migrate_service(service, settings)
            built = await build_service(service, settings, SystemClock(), transport)
            await built.setup()
            await built.database.close()
    finally:
        await transport.stop()
    return url


async def query(url: str, sql: str, *values: Any) -> list[Any]:
    """Rows of one statement, with the rights of the owner."""
    pg: Any = await asyncpg.connect(url, command_timeout=None, server_settings={"timezone": "UTC"})
    try:
        return list(await pg.fetch(sql, *values))
    finally:
        await pg.close()


async def until(url: str, sql: str, seconds: float, *values: Any) -> bool:
    """Wait until the statement's one value is 0; False when it is not after so many seconds."""
    give_up = time.monotonic() + seconds
    pg: Any = await asyncpg.connect(url, command_timeout=None)
    try:
        while time.monotonic() < give_up:
            if not await pg.fetchval(sql, *values):
                return True
            await asyncio.sleep(0.5)
    finally:
        await pg.close()
    return False


UNREAD = (
    "SELECT coalesce(sum(greatest(0, p.next_offset - coalesce(o.next_offset, 0))), 0) FROM bus.partitions p"
    " LEFT JOIN {service}.inbox_offsets o USING (topic, partition) WHERE p.topic = '{topic}'"
)
"""records of a topic that a service has still to read"""
