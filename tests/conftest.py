"""Fixtures of all tests: one PostgreSQL server for the run."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing import postgres

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # more threads only get into each other's way on a small machine


NO_KAFKA = "KAFKA TESTS SKIPPED: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, and once, that a green result says nothing about Kafka."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    without_kafka = [reason for reason in reasons if NO_KAFKA in reason]
    if without_kafka:
        terminalreporter.write_sep("!", f"{len(without_kafka)} KAFKA TESTS SKIPPED", bold=True, yellow=True)
        terminalreporter.write_line(without_kafka[0].partition(NO_KAFKA)[2].rstrip("')").replace("\\n", "\n"))
        terminalreporter.write_sep("!", "this result says nothing about Kafka", bold=True, yellow=True)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of a PostgreSQL server; tests make their own databases on it (`Harness.fresh(server_url, …)`)."""
    # not pytest's own folder: a second run of pytest closes that to PostgreSQL's user, and the server dies of it
    folder = Path(tempfile.mkdtemp(prefix="sushu-tests-"))
    try:
        with postgres.server(folder / "data") as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real Apache Kafka: KAFKA_BOOTSTRAP_SERVERS, else one from deploy/local.

    Skips, saying why, where Java or the jars cannot be had.
    """
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    command = [sys.executable, "-m", "deploy.local.kafka"]
    check = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        pytest.skip(f"{NO_KAFKA}{(check.stdout + check.stderr).strip()}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("kafka")
    log = (folder / "out.log").open("w")
    broker = subprocess.Popen(
        [*command, "--data-dir", str(folder), "--port", str(port)], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            if broker.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Kafka did not start: {(folder / 'out.log').read_text()[-2000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        broker.terminate()
        try:
            broker.wait(30)
        except subprocess.TimeoutExpired:
            broker.kill()


@pytest.fixture(scope="session")
def kafka_possible() -> None:
    """Skips, saying why, where Kafka cannot run."""
    check = subprocess.run(
        [sys.executable, "-m", "deploy.local.kafka", "--check"], capture_output=True, text=True, check=False
    )
    if check.returncode != 0:
        pytest.skip(f"{NO_KAFKA}{(check.stdout + check.stderr).strip()}")
