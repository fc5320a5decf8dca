"""One Apache Kafka node (KRaft, broker and controller in one process) for a laptop: loopback only, small heap."""

import hashlib
import os
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.process import Program

HEAP_MB = 384
NODE = 1

_PROPERTIES = """\
# Written by deploy/local/kafka/broker.py at every start.
process.roles=broker,controller
node.id={node}
controller.quorum.voters={node}@127.0.0.1:{controller_port}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={log_dir}

# one node: nothing to replicate, no consumer to wait for
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# after kill -9 the node waits for its own former session to end before it comes back
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
# and reads every segment that is still written to from its start: small ones keep that short
log.segment.bytes=16777216
offsets.topic.segment.bytes=4194304
# a consumer killed with -9 must lose its partitions soon
group.min.session.timeout.ms=1000

# topics come from their files, never from a typing mistake
auto.create.topics.enable=false
message.max.bytes=4194304
log.retention.check.interval.ms=60000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=2
"""


@dataclass(frozen=True)
class Kafka:
    """A Kafka node below `data_dir`; ports may change from start to start."""

    data_dir: Path
    """The stack's data folder; the log is its folder `kafka`."""
    port: int
    controller_port: int
    java: str
    lib: Path
    log: Path

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """The node's own folder."""
        return self.data_dir / "kafka"

    def program(self) -> Program:
        """The node as a program to supervise."""
        return Program(
            name="kafka",
            argv=self._java("kafka.Kafka", str(self._properties)),
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            log=self.log,
            before_start=self.prepare,
            is_ready=self.is_ready,
            stop_patience_s=20.0,
        )

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, main_class: str, *arguments: str) -> tuple[str, ...]:
        archive = archive_of(self.java, self.lib)
        shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() and archive.stat().st_size else []
        return (
            self.java,
            *shared,
            f"-Xmx{HEAP_MB}m",
            "-Xms128m",
            "-XX:+UseSerialGC",  # two cores and a small heap: fewer threads, less memory than G1
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:TieredStopAtLevel=1",  # the second compiler takes more CPU in its minutes than it gives back here
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ssXXX",
            *("-cp", f"{self.lib}/*", main_class, *arguments),
        )

    def prepare(self) -> None:
        """Write the settings and format the storage once; raises StackError for a folder that is not this node's."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        log_dir = self.folder / "data"
        self._properties.write_text(
            _PROPERTIES.format(node=NODE, port=self.port, controller_port=self.controller_port, log_dir=log_dir),
            encoding="utf-8",
        )
        meta = log_dir / "meta.properties"
        if meta.exists():
            found = dict(line.split("=", 1) for line in meta.read_text().splitlines() if "=" in line)
            if found.get("version") != "1" or found.get("node.id") != str(NODE):
                raise StackError(
                    f"{log_dir} belongs to another Kafka (format {found.get('version')}, "
                    f"node {found.get('node.id')}).\n"
                    "Set SUSHU_DATA_DIR to a new folder, or remove that folder if nothing in it matters to you."
                )
            return
        # without meta.properties nothing was ever written there: formatting was interrupted
        shutil.rmtree(log_dir, ignore_errors=True)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        done = subprocess.run(  # noqa: S603
            self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"Kafka could not format {log_dir}:\n{(done.stderr or done.stdout).strip()[-1500:]}")

    async def is_ready(self) -> bool:
        """True when the broker answers clients."""
        return await cluster_id(self.bootstrap_servers) is not None


def archive_of(java: str, lib: Path) -> Path:
    """Where the class archive of this Java and these jars is kept; empty where it could not be made (`archive.py`).
    A JVM takes an archive only for the same Java and the same jars in the same place."""
    program = Path(java).resolve()
    mark = f"{program} {program.stat().st_mtime_ns} {lib.resolve()}"
    return lib / f"classes-{hashlib.sha256(mark.encode()).hexdigest()[:12]}.jsa"


async def cluster_id(bootstrap_servers: str) -> str | None:
    """Id of the Kafka cluster at these addresses; None while it does not answer."""
    if not any(_connects(address) for address in bootstrap_servers.split(",")):
        return None  # aiokafka would log an error for every try
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=3000)
    try:
        await client.start()
        cluster = await client.describe_cluster()
    except (KafkaError, OSError, TimeoutError):
        return None
    finally:
        await client.close()
    return str(cluster["cluster_id"]) if cluster.get("brokers") else None


def _connects(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    return port.isdigit() and ports.is_listening(int(port), host.strip("[]"))
