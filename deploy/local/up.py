"""`make up`: every service its own process on Apache Kafka, behind the gateway, kept running by a supervisor.

`up` checks what a person can set right, starts the supervisor in the background and waits until the stack is ready.
`supervise` is that background process.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx
import uvicorn

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.folder import DataFolder
from deploy.local.front import front_app
from deploy.local.gateway import Gateway
from deploy.local.kafka import Kafka, cluster_id, ensure_archive, ensure_jars, find_java
from deploy.local.keys import ensure_admin_token
from deploy.local.process import Identity, Program
from deploy.local.routes import CHECKOUT, local_routes, local_services
from deploy.local.services import demo_program, prepare_all, service_program
from deploy.local.serving import EmbeddedServer
from deploy.local.settings import LocalSettings
from deploy.local.stack import Stack, already_running, end_leftovers
from deploy.local.supervisor import Supervisor
from shared.security.tokens import SIGNING_KEY, load_or_make_signing_key

PROGRAM_READY_S = 60.0
STACK_READY_S = 120.0
_ERROR, _READY = "error: ", "ready"


def up() -> int:
    """Start the stack in the background and return when it is ready; exit status."""
    settings = LocalSettings.from_environment()
    settings.require_city()
    folder = DataFolder.open(settings.data_dir)
    if not folder.claim():
        print(already_running(folder))
        return 0
    end_leftovers(folder, print)
    _check_before(settings)
    with folder.log("supervisor").open("ab") as log:
        background = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "deploy.local", "supervise", str(folder.lock_handle)],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[folder.lock_handle],
            start_new_session=True,
            text=True,
        )
    assert background.stdout is not None
    try:
        for line in background.stdout:
            text = line.rstrip("\n")
            if text == _READY:
                print(_ready_words(settings))
                return 0
            if text.startswith(_ERROR):
                raise StackError(text.removeprefix(_ERROR).replace("\\n", "\n"))
            print(text, flush=True)
        raise StackError(f"The supervisor ended before the stack was ready. See {settings.data_dir / 'log'}.")
    except BaseException:
        background.terminate()
        background.wait()
        raise


def supervise(lock_handle: int) -> int:
    """The background process of `up`: speaks to it on standard output until ready, then only to its log."""
    settings = LocalSettings.from_environment()
    folder = DataFolder(settings.data_dir)
    folder.adopt(lock_handle)
    stack = Stack(settings, folder, "kafka", local_services())
    try:
        return asyncio.run(_Supervision(stack).run())
    except StackError as error:
        _tell(_ERROR + str(error).replace("\n", "\\n"))
        return 1


def _check_before(settings: LocalSettings) -> None:
    """Whatever a person must set right is said before anything is started."""
    ports.require_free(settings.port, "SUSHU_PORT", "the base URL", settings.host)
    if not settings.kafka_bootstrap_servers:
        ensure_archive(find_java(), ensure_jars(settings.data_dir / "kafka" / "lib"))
        ports.require_free(settings.broker_port, "SUSHU_KAFKA_PORT", "Apache Kafka")
        ports.require_free(settings.controller_port, "SUSHU_PORT", "Apache Kafka's controller")


def _ready_words(settings: LocalSettings) -> str:
    token = "the value of SUSHU_ADMIN_TOKEN" if settings.admin_token else str(settings.data_dir / "admin.token")
    return (
        f"\n诉枢 is ready at {settings.local_url}  (documentation: {settings.local_url}/docs)\n"
        f"  admin token   {token}\n"
        f"  processes     {settings.data_dir / 'stack.json'}, logs in {settings.data_dir / 'log'}\n"
        f"  stop          make down   (make down clean=1 also deletes the data)"
    )


def _tell(line: str) -> None:
    """One line for the waiting `up`; nobody may be listening any more."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


class _Supervision:
    """The life of one stack: start in order, watch, stop in order."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.settings = stack.settings
        self.supervisor = Supervisor(on_change=self._publish, say=self._log)
        self.setup_trouble: str | None = "the stack is starting"

    async def run(self) -> int:
        """Until asked to end; returns the exit status."""
        asked_to_end = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked_to_end.set)
        starting = asyncio.create_task(self._start())
        ending = asyncio.create_task(asked_to_end.wait())
        watching = asyncio.create_task(self.supervisor.watch())
        try:
            await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting  # raises what went wrong
                _tell(_READY)
                self._close_output()
                self._log("the stack is ready")
                await asyncio.wait({ending, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    await watching  # a defect of ours: say it
        finally:
            starting.cancel()
            watching.cancel()
            await asyncio.gather(starting, watching, return_exceptions=True)
            self._log("stopping")
            await self.supervisor.stop_all(order=("kafka", "postgres"))
            self.stack.folder.forget()
        return 0

    async def _start(self) -> None:
        settings, stack, folder = self.settings, self.stack, self.stack.folder
        load_or_make_signing_key(settings.keys / SIGNING_KEY)  # before several processes want it
        ensure_admin_token(settings.data_dir, settings.admin_token)
        taken: set[int] = set()
        service_ports = {name: _take_port(taken) for name in stack.services}
        front_port = _take_port(taken)
        front = front_app(service_ports, self._troubles)
        server = EmbeddedServer(
            uvicorn.Config(front, host="127.0.0.1", port=front_port, log_config=None, lifespan="off")
        )
        self._serving = asyncio.create_task(server.serve())
        gateway = Gateway(
            settings.data_dir,
            settings.host,
            settings.port,
            settings.local_url,
            front_port,
            service_ports,
            local_routes(stack.services),
            folder.log("gateway"),
        )
        postgres, kafka = stack.own_postgres(), self._own_kafka()
        own = [name for name, part in (("PostgreSQL", postgres), ("Apache Kafka", kafka)) if part is not None]
        _tell(f"Starting {', '.join([*own, 'the gateway'])} …")
        stack.kafka = kafka.bootstrap_servers if kafka else settings.kafka_bootstrap_servers
        programs = [gateway.program()]
        programs += [part.program() for part in (postgres, kafka) if part is not None]
        await self._start_together(programs)
        log_id = await cluster_id(stack.kafka)
        if log_id is None:
            raise StackError(
                f"No Kafka answers at KAFKA_BOOTSTRAP_SERVERS={stack.kafka}. Start it or correct the address."
            )
        await stack.take_database(postgres, f"kafka:{log_id}")
        self._publish()
        _tell("Preparing the database …")
        await prepare_all(stack)
        _tell(f"Starting {len(stack.services)} services …")
        await self._start_together([service_program(stack, name, service_ports[name]) for name in stack.services])
        self.setup_trouble = None
        await self._until_ready()
        if settings.demo_stream == "on":
            await self.supervisor.start(demo_program(stack), within_s=PROGRAM_READY_S)

    def _own_kafka(self) -> Kafka | None:
        settings = self.settings
        if settings.kafka_bootstrap_servers:
            return None
        lib = ensure_jars(settings.data_dir / "kafka" / "lib", _tell)
        log = self.stack.folder.log("kafka")
        return Kafka(settings.data_dir, settings.broker_port, settings.controller_port, find_java(), lib, log)

    async def _start_together(self, programs: list[Program]) -> None:
        tasks = [asyncio.create_task(self.supervisor.start(program, within_s=PROGRAM_READY_S)) for program in programs]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_ready(self) -> None:
        give_up = time.monotonic() + STACK_READY_S
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(f"{self.settings.local_url}/health/ready")
                    if answer.status_code == 200:
                        return
                    reasons = answer.text
                except httpx.HTTPError as error:
                    reasons = repr(error)
                if time.monotonic() > give_up:
                    raise StackError(f"The stack was not ready within {STACK_READY_S:.0f} s: {reasons}")
                await asyncio.sleep(0.1)

    def _troubles(self) -> dict[str, str]:
        troubles = self.supervisor.troubles()
        if self.setup_trouble is not None:
            troubles["stack"] = self.setup_trouble
        return troubles

    def _publish(self) -> None:
        me = Identity.of("supervisor", os.getpid())
        running = self.supervisor.identities()
        pids = {process.name: [process.pid] for process in running}
        self.stack.publish([*([me] if me else []), *running], pids)

    @staticmethod
    def _log(line: str) -> None:
        print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {line}", file=sys.stderr, flush=True)

    @staticmethod
    def _close_output() -> None:
        """Let the waiting `up` go: nothing more is said to it."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _take_port(taken: set[int]) -> int:
    port = ports.free_port(frozenset(taken))
    taken.add(port)
    return port
