"""Run one broker in the foreground and print its address when it is ready."""

import argparse
import sys
from pathlib import Path

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.foreground import run_in_foreground
from deploy.local.kafka import Kafka, ensure_archive, ensure_jars, find_java

CANNOT = 3
"""Exit status of --check when Kafka cannot run here; the reason is on standard error."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.kafka", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="the log is kept in its folder `kafka`")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--check", action="store_true", help="only say whether Kafka could run here (fetches the jars)")
    arguments = parser.parse_args()
    fallback = (arguments.data_dir or Path(".sushu")).resolve() / "kafka" / "lib"
    try:
        java, lib = find_java(), ensure_jars(fallback, say=_tell)
        ensure_archive(java, lib, say=_tell)
    except StackError as error:
        print(f"sushu: {error}", file=sys.stderr)
        sys.exit(CANNOT)
    if arguments.check:
        return
    if arguments.data_dir is None:
        parser.error("--data-dir is required")
    data_dir = arguments.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    port = arguments.port or ports.free_port()
    broker = Kafka(data_dir, port, ports.free_port(frozenset({port})), java, lib, data_dir / "kafka.log")
    run_in_foreground(broker.program, lambda: f"KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")


if __name__ == "__main__":
    main()
