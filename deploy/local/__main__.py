"""The commands behind `make run`, `make up` and `make down`."""

import argparse
import sys

from deploy.local.errors import StackError
from shared.city import CityError


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="the whole hub, on the embedded log")
    commands.add_parser("up", help="separate processes on Apache Kafka; returns when ready")
    downwards = commands.add_parser("down", help="stop the stack of the data folder")
    downwards.add_argument("--clean", action="store_true", help="delete the data too")
    commands.add_parser("prepare", help=argparse.SUPPRESS)
    works = commands.add_parser("work", help=argparse.SUPPRESS)
    works.add_argument("port", type=int)
    supervised = commands.add_parser("supervise", help=argparse.SUPPRESS)
    supervised.add_argument("lock_handle", type=int)
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            from deploy.local.run import run

            return run()
        if arguments.command == "work":
            from deploy.local.work import work

            return work(arguments.port)
        if arguments.command == "prepare":
            from deploy.local.prepare import prepare_here

            return prepare_here()
        if arguments.command == "down":
            from deploy.local.down import down

            return down(clean=arguments.clean)
        from deploy.local import up

        if arguments.command == "up":
            return up.up()
        return up.supervise(arguments.lock_handle)
    except (StackError, CityError) as error:
        print(f"sushu: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
