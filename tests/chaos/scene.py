"""The stack under fire, seen and touched from outside: its processes, its database, its health."""

import asyncio
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from tests.bench.stack import ROOT, TOKEN, Stack, environment, free_port, wait_ready

SERVICES = ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal")
RESTART_S = 0.5
"""how soon the one who runs `make run` starts it again"""
_PIDFD_GETFD = 438


class Scene:
    """A stack of its own, started as a user would. `make run` has nobody who starts it again after a kill -9, so the
    scene does, as an init system would; `make up` has its supervisor."""

    def __init__(self, transport: str, folder: Path) -> None:
        self.stack = Stack(transport, folder, free_port())
        self.http = httpx.AsyncClient(
            base_url=self.stack.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False
        )
        self.starts = 0
        self._output = (folder.parent / f"{folder.name}.out").open("ab")
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._second: list[subprocess.Popen[bytes]] = []

    @property
    def transport(self) -> str:
        return self.stack.transport

    def _environment(self) -> dict[str, str]:
        return environment(self.stack.folder, self.stack.port, {"SUSHU_SIM_CLOCK": "1"})

    async def start(self) -> None:
        """Until it is ready."""
        if self.transport == "embedded":
            self._run()
            await asyncio.to_thread(wait_ready, self.stack, self._process, 180)
            self._keeper = asyncio.create_task(self._keep())
        else:
            await asyncio.to_thread(self._make, "up")
            await asyncio.to_thread(wait_ready, self.stack, None, 60)

    def _make(self, target: str) -> None:
        command = [sys.executable, "-m", "deploy.local", target]
        options: dict[str, Any] = {"cwd": ROOT, "env": self._environment(), "stdout": self._output}
        subprocess.run(command, stderr=self._output, check=target == "up", timeout=240, **options)

    def _run(self) -> None:
        self.starts += 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "run"],
            cwd=ROOT,
            env=self._environment(),
            stdout=self._output,
            stderr=self._output,
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(RESTART_S)
            if self._process is not None and self._process.poll() is not None:
                self._run()

    async def stop(self) -> None:
        """End it; the folder stays."""
        for process in self._second:
            process.kill()
            process.wait()
        await self.http.aclose()
        if self._keeper is not None:
            self._keeper.cancel()
        if self._process is not None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, 30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            await asyncio.to_thread(self._make, "down")
        self._output.close()

    # -- looking -------------------------------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """Pid of a service, `kafka`, `postgres` (the postmaster) or `gateway`. Raises `LookupError` when it is away."""
        found = self.stack.facts["pids"].get(name)
        pid = found[0] if isinstance(found, list) and found else found
        if not pid:
            raise LookupError(f"{name} is not running")
        return int(pid)

    async def ready(self) -> list[str]:
        """Why it is not ready; empty when it is."""
        try:
            answer = await self.http.get("/health/ready", timeout=5)
        except httpx.HTTPError as error:
            return [repr(error)]
        if answer.status_code == 200:
            return []
        try:
            return [str(reason) for reason in answer.json()["reasons"]]
        except (ValueError, KeyError):
            return [f"status {answer.status_code}"]

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[Any]:
        """A session of the database's owner."""
        connection = await asyncpg.connect(
            self.stack.facts["database_url"].replace("+asyncpg", ""),
            timeout=5,
            command_timeout=120,
            server_settings={"application_name": "chaos", "jit": "off"},
        )
        try:
            yield connection
        finally:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)

    async def undispatched(self, appeals: list[str]) -> int:
        """How many of these appeals have no order yet in what the centre sees."""
        async with self.sql() as pg:
            count: int = await pg.fetchval(
                "SELECT count(*) FROM unnest($1::uuid[]) AS a(id)"
                " LEFT JOIN intake.case_views v ON v.appeal_id = a.id WHERE coalesce(v.order_ids, '{}') = '{}'",
                appeals,
            )
        return count

    async def business_now(self) -> Any:
        """The stack's business clock."""
        async with self.sql() as pg:
            return await pg.fetchval("SELECT business_at + (clock_timestamp() - real_at) * speed FROM sim.clock")

    # -- touching ------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """kill -9."""
        os.kill(self.pid(name), signal.SIGKILL)

    async def step_clock(self, seconds: float, *, stop: bool = False) -> None:
        """Set the business clock forward or back, as somebody who sets a machine's clock wrong or right again; or
        `stop` it, so that the judge looks at something that does not move."""
        async with self.sql() as pg:
            version = await pg.fetchval(
                "UPDATE sim.clock SET version = version + 1, real_at = clock_timestamp(), business_at = business_at"
                " + (clock_timestamp() - real_at) * speed + make_interval(secs => $1),"
                " speed = CASE WHEN $2 THEN 0 ELSE speed END RETURNING version",
                seconds,
                stop,
            )
            await pg.execute("SELECT pg_notify('sushu_clock', $1)", str(version))

    def join(self, service: str) -> "subprocess.Popen[bytes]":
        """A second process of a service, as a second replica would join."""
        facts = self.stack.facts
        variables = {
            **self._environment(),
            "SUSHU_BASE_URL": self.stack.url,
            "SUSHU_SERVICE_HOST": "127.0.0.1",
            "SUSHU_SERVICE_PORT": str(free_port()),
            "DATABASE_URL": facts["database_url"],
            "KAFKA_BOOTSTRAP_SERVERS": facts["kafka"] or "",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"],
            cwd=ROOT,
            env=variables,
            stdout=self._output,
            stderr=self._output,
        )
        self._second.append(process)
        return process

    async def joined(self, service: str, process: "subprocess.Popen[bytes]") -> None:
        """Until a second process of a service works: it has database sessions of its own."""
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up and process.poll() is None:
            if len(_connections(process.pid, self._ports())) >= 3:
                await asyncio.sleep(1)
                return
            await asyncio.sleep(0.2)
        raise TimeoutError(f"a second {service} did not join")

    async def part(self, process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
        """The second process leaves, politely or not."""
        if process.poll() is None:
            process.send_signal(how)
        try:
            await asyncio.to_thread(process.wait, 30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process in self._second:
            self._second.remove(process)

    def _ports(self) -> set[int]:
        facts = self.stack.facts
        addresses = [facts["database_url"].rsplit("@", 1)[1].split("/")[0]]
        addresses += facts["kafka"].split(",") if facts["kafka"] else []
        return {int(address.rsplit(":", 1)[1]) for address in addresses}

    def reset_connections(self, service: str) -> int:
        """Cut every connection of a service to the broker and to PostgreSQL, a TCP connection with a reset from over
        there; returns how many.

        Raises `PermissionError` where this machine does not let one process touch another's sockets.
        """
        return reset(self._ports(), self.pid(service)) + shut_down(self.pid(service))


def reset(ports: set[int], pid: int) -> int:
    """Reset a process's connections to servers on these ports, from the servers' side; returns how many. Raises
    `PermissionError` where one process may not touch another's sockets."""
    own = {one.laddr.port for one in _connections(pid, ports)}
    count = 0
    for peer in psutil.net_connections("tcp"):
        if peer.pid and peer.raddr and peer.raddr.port in own and peer.laddr.port in ports:
            count += _reset(peer.pid, peer.fd)
    return count


def shut_down(pid: int) -> int:
    """Shut a process's connections to PostgreSQL's Unix socket, both ways; returns how many. Raises
    `PermissionError` where one process may not touch another's sockets."""
    count = 0
    for one in psutil.Process(pid).net_connections("unix"):
        copy = _copy_of(pid, one.fd)
        if copy is None:
            continue
        with socket.socket(fileno=copy) as connection, contextlib.suppress(OSError):  # OSError: has no other end
            if ".s.PGSQL." in str(connection.getpeername()):
                connection.shutdown(socket.SHUT_RDWR)
                count += 1
    return count


def _connections(pid: int, ports: set[int]) -> list[Any]:
    """A process's connections to these ports."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return []
    return [one for one in found if one.raddr and one.raddr.port in ports]


def _reset(pid: int, fd: int) -> bool:
    """Disconnect another process's socket: connecting it to "nowhere" sends its peer a reset (tcp(7), AF_UNSPEC)."""
    copy = _copy_of(pid, fd)
    if copy is None:
        return False
    nowhere = (ctypes.c_ushort * 8)(socket.AF_UNSPEC)
    done = ctypes.CDLL(None).connect(copy, ctypes.byref(nowhere), ctypes.sizeof(nowhere))
    os.close(copy)
    return bool(done == 0)


def _copy_of(pid: int, fd: int) -> int | None:
    """A handle of ours on another process's socket, None when it was closed in the meantime."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    try:
        copy: int = libc.syscall(_PIDFD_GETFD, handle, fd, 0)
    finally:
        os.close(handle)
    if copy >= 0:
        return copy
    number = ctypes.get_errno()
    if number == errno.EBADF:
        return None
    raise PermissionError(number, os.strerror(number))


@asynccontextmanager
async def scene(transport: str) -> AsyncIterator[Scene]:
    """A stack in a folder of its own, both gone afterwards."""
    root = tempfile.mkdtemp(prefix="sushu-chaos-")
    os.chmod(root, 0o755)
    found = Scene(transport, Path(root, "data"))
    try:
        await found.start()
        yield found
    finally:
        await found.stop()
        if not os.environ.get("SUSHU_CHAOS_KEEP"):
            shutil.rmtree(root, ignore_errors=True)
