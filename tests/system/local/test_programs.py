"""PostgreSQL, Kafka and the gateway of the local stacks, each alone, with the real binaries."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.gateway import Gateway
from deploy.local.kafka import Kafka
from deploy.local.keys import ensure_admin_token
from deploy.local.postgres import PostgreSQL
from deploy.local.routes import local_routes
from deploy.local.stack import prepare_database

REPO = Path(__file__).parents[3]


@contextlib.contextmanager
def program(module: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`python -m <module>` until the block ends; yields the process and the value of its ready line."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline().strip()
        if not line:
            raise StackError(process.stderr.read())
        yield process, line.split("=", 1)[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


async def count_rows(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchval("SELECT count(*) FROM kept")
    finally:
        await connection.close()
    return int(found)


async def store_a_row(url: str) -> int:
    """Commit one row; returns the pid of the postmaster."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        folder = await connection.fetchval("SHOW data_directory")
    finally:
        await connection.close()
    return int((Path(folder) / "postmaster.pid").read_text().split("\n", 1)[0])


async def test_postgres_keeps_a_committed_row_over_kill_9_and_restart(tmp_path: Path) -> None:
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (process, url):
        postmaster = await store_a_row(url)
        os.kill(postmaster, signal.SIGKILL)
        process.wait(timeout=10)
    assert (tmp_path / "postgres" / "postmaster.pid").exists()
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (_, url):
        assert await count_rows(url) == 1


async def test_postgres_ends_with_a_killed_parent(tmp_path: Path) -> None:
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (process, url):
        await store_a_row(url)
        process.kill()
        process.wait(timeout=10)
        for _ in range(100):
            if not (tmp_path / "postgres" / "postmaster.pid").exists():
                break
            await asyncio.sleep(0.1)
        assert not (tmp_path / "postgres" / "postmaster.pid").exists(), (
            "the server outlived the process that started it"
        )


async def test_postgres_starts_when_its_old_pid_is_a_strangers_now(tmp_path: Path) -> None:
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (process, url):
        os.kill(await store_a_row(url), signal.SIGKILL)
        process.wait(timeout=10)
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (_, url):
        assert await count_rows(url) == 1
    os.kill(os.getpid(), 0)  # and this process, the stranger, was left alone


async def test_postgres_asks_for_its_password_and_is_durable(tmp_path: Path) -> None:
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (_, url):
        password = (tmp_path / "keys" / "postgres.password").read_text()
        assert (tmp_path / "keys" / "postgres.password").stat().st_mode & 0o777 == 0o600
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url.replace(password, "guess"))
        connection = await asyncpg.connect(url)
        settings = {name: await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")}
        assert settings == {"fsync": "on", "synchronous_commit": "on"}
        assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
        await connection.close()


async def test_failing_statement_leaves_no_value_in_the_log(tmp_path: Path) -> None:
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (_, url):
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE once (phone text UNIQUE)")
        await connection.execute("INSERT INTO once VALUES ('13800138000')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO once VALUES ('13800138000')")
        await connection.close()
    log = (tmp_path / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "13800138000" not in log


@pytest.mark.parametrize(("made", "words"), [("12", "PostgreSQL 12"), (None, "no PG_VERSION")])
def test_foreign_postgres_folder_says_what_to_do(tmp_path: Path, made: str | None, words: str) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / ("PG_VERSION" if made else "something")).write_text(f"{made}\n")
    with pytest.raises(StackError, match=words) as told:
        PostgreSQL(tmp_path, ports.free_port(), tmp_path / "log").prepare()
    assert "SUSHU_DATA_DIR" in str(told.value)
    assert len(list(folder.iterdir())) == 1, "a foreign folder must stay untouched"


async def test_database_refuses_another_event_log(tmp_path: Path) -> None:
    with program("deploy.local.postgres", "--data-dir", str(tmp_path)) as (_, url):
        await prepare_database(url, "sushu", "kafka:one")
        await prepare_database(url, "sushu", "kafka:one")
        with pytest.raises(StackError, match="kafka:two"):
            await prepare_database(url, "sushu", "kafka:two")


def test_foreign_kafka_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=x\n")
    with pytest.raises(StackError, match="SUSHU_DATA_DIR"):
        Kafka(tmp_path, 1, 2, "java", tmp_path, tmp_path / "log").prepare()


def require_kafka() -> None:
    """Skip, saying why, where Java or the jars cannot be had."""
    check = subprocess.run(
        [sys.executable, "-m", "deploy.local.kafka", "--check"], cwd=REPO, capture_output=True, text=True, check=False
    )
    if check.returncode != 0:
        pytest.skip(f"KAFKA TESTS SKIPPED: {check.stderr.strip()}")


@pytest.mark.kafka
async def test_kafka_keeps_its_messages_over_kill_9_and_a_new_port(tmp_path: Path) -> None:
    require_kafka()
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    with program("deploy.local.kafka", "--data-dir", str(tmp_path)) as (process, servers):
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        await admin.create_topics([NewTopic("kept", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
            for number in range(100):
                await producer.send_and_wait("kept", str(number).encode())
        process.kill()  # the broker hears of it and ends too
        process.wait(timeout=10)
    with program("deploy.local.kafka", "--data-dir", str(tmp_path)) as (_, servers):
        async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
            partition = TopicPartition("kept", 0)
            consumer.assign([partition])
            assert await consumer.end_offsets([partition]) == {partition: 100}


def test_missing_java_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local.kafka", "--check"],
        cwd=REPO,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "apt-get install" in done.stderr
    assert "make run" in done.stderr


class Echo(BaseHTTPRequestHandler):
    """Answers what it was asked."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = {"host": self.headers["Host"], "path": self.path, "length": len(body), "server": self.server.server_port}  # type: ignore[attr-defined]
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def gateway(folder: Path, front: int, services: dict[str, int]) -> Iterator[httpx.Client]:
    port = ports.free_port()
    url = f"http://127.0.0.1:{port}"
    part = Gateway(folder, "127.0.0.1", port, url, front, services, local_routes(services), folder / "gateway.log")
    part.prepare()
    made = part.program()
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(made.argv, env=dict(made.env or {}), stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            for _ in range(200):
                with contextlib.suppress(httpx.ConnectError):
                    client.get("/health/live")
                    break
                threading.Event().wait(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_gateway_sends_each_first_segment_to_its_service(tmp_path: Path) -> None:
    with (
        echo_server() as front,
        echo_server() as intake,
        echo_server() as dispatch,
        gateway(tmp_path, front, {"intake": intake, "dispatch": dispatch}) as client,
    ):
        expected = {
            "/v1/appeals": intake,
            "/v1/appeals/1/timeline?x=1": intake,
            "/open311/v2/services.json": intake,
            "/v1/work-orders/1/accept": dispatch,
            "/ops/dispatch/health/ready": dispatch,
            "/health/ready": front,
            "/docs": front,
        }
        for path, port in expected.items():
            answer = client.post(path, headers={"Host": "hub.example:1"}, content=b"x").json()
            assert answer == {"host": "hub.example:1", "path": path, "length": 1, "server": port}
        # a segment that only begins like another, and one of a service that does not run here: the first service says
        # that nobody has it, as it says all else, with a traceparent
        for path in ("/v1/appealsx", "/v1/hot-events", "/ops/sla/metrics"):
            assert client.post(path, content=b"x").json()["server"] == intake


def test_gateway_stops_a_body_beyond_33_mb(tmp_path: Path) -> None:
    with echo_server() as server, gateway(tmp_path, server, {"intake": server}) as client:
        assert client.post("/v1/appeals/batch", content=bytes(32_900_000)).json()["length"] == 32_900_000
        answer = client.post("/v1/appeals/batch", content=bytes(33_100_000))
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_gateway_waits_for_a_service_that_is_restarting(tmp_path: Path) -> None:
    port = ports.free_port()
    with echo_server() as front, gateway(tmp_path, front, {"intake": port}) as client:

        def come_back() -> None:
            server = ThreadingHTTPServer(("127.0.0.1", port), Echo)
            server.handle_request()
            server.server_close()

        timer = threading.Timer(1.0, come_back)
        timer.start()
        assert client.post("/v1/appeals", content=b"x").status_code == 200
        timer.join()
        answer = client.post("/v1/appeals", content=b"x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_admin_token_is_private_and_made_once(tmp_path: Path) -> None:
    token, path = ensure_admin_token(tmp_path, "")
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_admin_token(tmp_path, "") == (token, path)
    assert ensure_admin_token(tmp_path, "given") == ("given", None)
