"""`make reconcile`, `make rebuild`, `make dlt` and `make corrections`: look after a running stack, through its own HTTP
where it has an answer.

python -m deploy.local.operate reconcile
python -m deploy.local.operate rebuild YYYY-MM
python -m deploy.local.operate dlt [SERVICE ID replay|discard [EDITED.json]]
python -m deploy.local.operate corrections OUT.jsonl
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deploy.local.errors import StackError
from deploy.local.folder import DataFolder
from deploy.local.keys import ensure_admin_token
from deploy.local.routes import local_services
from deploy.local.settings import LocalSettings

SETTLE_S = 15.0
"""Work in progress looks like a difference: a check counts only when it still differs after this long."""
PAGE = 200
PATIENCE_S = 1800.0
"""a comparison reads every table of a service: at a million cases that takes minutes"""

console = Console()


def reconcile(client: httpx.Client) -> int:
    """Compare every service's tables with what it has read and promised; exit status 1 when something differs."""
    give_up = time.monotonic() + SETTLE_S
    while True:
        found = {name: _ask(client, "GET", f"/ops/{name}/reconcile") for name in local_services()}
        if not any(answer["differences"] for answer in found.values()) or time.monotonic() > give_up:
            break
        time.sleep(0.5)
    table = Table("service", "check", "differences")
    for name, answer in found.items():
        for check, count in answer["checks"].items():
            if count:
                table.add_row(name, check, str(count))
    differences = sum(answer["differences"] for answer in found.values())
    if differences:
        console.print(table)
    print(json.dumps({"differences": differences, "services": found}))
    return 1 if differences else 0


def rebuild(client: httpx.Client, month: str) -> int:
    """Count a published month again from the journal; exit status 1 for other bytes. It goes on in the stack while
    nobody waits for it: the same command joins it."""
    with Console(stderr=True).status("asking for what was published …") as line:
        while (answer := _ask(client, "POST", f"/v1/evaluations/{month}/rebuild", {})).get("status") == "reading":
            line.update(f"position {answer['position']:,} of {answer['of']:,}")
    print(json.dumps(answer))
    return 0 if answer["identical"] and not answer["changed"] else 1


def list_letters(client: httpx.Client) -> int:
    """Every open dead letter of every service, with its reason."""
    table = Table("service", "id", "topic", "key", "status", "attempts", "reason")
    count = 0
    for name in local_services():
        after = ""
        while True:
            page = _ask(client, "GET", f"/ops/{name}/dead-letters?limit={PAGE}" + (f"&after={after}" if after else ""))
            for letter in page["items"]:
                if letter.get("status") in ("parked", "waiting"):
                    count += 1
                    table.add_row(
                        name,
                        *(
                            str(letter.get(field, ""))
                            for field in ("id", "topic", "key", "status", "attempts", "reason")
                        ),
                    )
            after = page["next"]
            if not after:
                break
    if count:
        console.print(table)
        console.print("make dlt service=NAME id=N do=replay|discard [value=EDITED.json]", highlight=False)
    else:
        print("No dead letters.")
    return 0


def act(client: httpx.Client, service: str, letter: int, action: str, edited: Path | None) -> int:
    """Replay (with an edited body, if given) or discard one letter."""
    body: dict[str, Any] = {}
    if edited is not None:
        try:
            body["value"] = json.loads(edited.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StackError(f"{edited} cannot be read as JSON: {error}") from None
    print(json.dumps(_ask(client, "POST", f"/ops/{service}/dead-letters/{letter}/{action}", body)))
    return 0


def corrections(settings: LocalSettings, out: Path) -> int:
    """What persons decided, as texts for `make train`, from the stack's database; exit status."""
    stack = DataFolder(settings.data_dir).published()
    if stack is None:
        raise StackError(f"{settings.data_dir} has no stack.json. Start the stack with `make run` or `make up`.")
    return subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-m", "services.classify", "corrections", str(out)],
        env={**os.environ, "DATABASE_URL": stack["database_url"], "SUSHU_DATA_DIR": str(settings.data_dir)},
        check=False,
    ).returncode


def _ask(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        answer = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise StackError(
            f"No stack answers at {client.base_url} ({error}). Start one with `make run` or `make up`."
        ) from None
    told: dict[str, Any] = answer.json()
    if answer.status_code >= 300:
        raise StackError(f"{method} {path}: {answer.status_code} {told.get('detail', '')}")
    return told


def main() -> int:
    """One command; exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.operate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("reconcile")
    commands.add_parser("rebuild").add_argument("month", help="YYYY-MM")
    commands.add_parser("corrections").add_argument("out", type=Path)
    letters = commands.add_parser("dlt")
    letters.add_argument("service", nargs="?")
    letters.add_argument("id", nargs="?", type=int)
    letters.add_argument("action", nargs="?", choices=("replay", "discard"))
    letters.add_argument("edited", nargs="?", type=Path)
    arguments = parser.parse_args()
    settings = LocalSettings.from_environment()
    if arguments.command == "corrections":
        return corrections(settings, arguments.out)
    token, _ = ensure_admin_token(settings.data_dir, settings.admin_token)
    with httpx.Client(
        base_url=settings.local_url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S, trust_env=False
    ) as client:
        if arguments.command == "reconcile":
            return reconcile(client)
        if arguments.command == "rebuild":
            return rebuild(client, arguments.month)
        if arguments.service is None:
            return list_letters(client)
        if arguments.id is None or arguments.action is None:
            parser.error("say which: dlt SERVICE ID replay|discard")
        return act(client, arguments.service, arguments.id, arguments.action, arguments.edited)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StackError as problem:
        print(f"sushu: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
