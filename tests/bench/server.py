"""A PostgreSQL of a bench's own, with the settings of the local stacks, and the folder in which it lies."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.bench.stack import ROOT
from tools.seed.cost import server_cpu_s

CRASH_S = 60.0


@dataclass
class Server:
    """A PostgreSQL with the settings of the local stacks."""

    folder: Path
    url: str = ""
    _starter: "subprocess.Popen[str] | None" = None
    _past_cpu_s: float = 0.0

    def start(self) -> None:
        """Start it, after a crash too, at the port it had. Returns when it answers."""
        port = urlsplit(self.url).port if self.url else 0
        self._starter = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.postgres", "--data-dir", str(self.folder), "--port", str(port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._starter.stdout is not None
        for line in self._starter.stdout:
            if line.startswith("DATABASE_URL="):
                self.url = line.strip().split("=", 1)[1]
                return
        raise RuntimeError(f"PostgreSQL did not start: see {self.folder}/postgres.log")

    @property
    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]))

    def crash(self) -> None:
        """An immediate stop: no transaction ends, no buffer is written; the next start recovers from the log."""
        assert self._starter is not None
        self._past_cpu_s = self.cpu_s()
        self._postmaster.send_signal(signal.SIGQUIT)
        self._starter.wait(CRASH_S)

    def stop(self) -> None:
        if self._starter is None:
            return
        self._starter.terminate()
        try:
            self._starter.wait(30)
        except subprocess.TimeoutExpired:
            self._starter.kill()

    def cpu_s(self) -> float:
        """CPU seconds so far, those before a crash included."""
        return self._past_cpu_s + server_cpu_s(self._postmaster)


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """A server that is ended at the end."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def kept_folder(given: Mapping[str, str], name: str) -> Iterator[Path]:
    """`folder=…` of the command line, kept; else a fresh one, removed at the end."""
    kept = given.get("folder")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix=f"sushu-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
