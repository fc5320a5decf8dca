"""`make feed file=F mapping=M [rate=N]`: sends an export through the running hub's HTTP (docs/feed.md)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from shared.settings import Settings
from tools.feed import mapping as mappings
from tools.feed import rows
from tools.feed.sender import Counts, HubError, Item, Sender
from tools.feed.sender import Progress as State

console = Console(stderr=True)
_TICK_S = 2.0


def main(
    file: Annotated[Path, typer.Option(help="CSV or JSONL, plain or .gz")],
    mapping: Annotated[Path, typer.Option(help="YAML: column → field (docs/feed.md)")],
    rate: Annotated[
        float | None, typer.Option(min=0.01, max=100_000, help="appeals a second; default: as fast as it goes")
    ] = None,
    url: Annotated[str | None, typer.Option(help="base URL of the hub; default: the local stack's")] = None,
) -> None:
    """Send an export. Ctrl-C stops at a clean point; the same command goes on from there."""
    settings = Settings()
    try:
        plan = mappings.load(mapping)
        if not file.is_file():
            raise rows.ExportError(f"{file} is no file")
        base, token = _hub(settings, url)
        folder = settings.data_dir / "feed"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = _key(file, mapping, base)
        state = State.load(folder / f"{key[:16]}.json", key)
        rejects = folder / f"{file.name.split('.')[0]}-{key[:8]}.rejects.jsonl"
        if state.next_row == 1:
            rejects.unlink(missing_ok=True)
        else:
            console.print(f"Going on from row {state.next_row}.")
        rejects.touch(mode=0o600)
        began = time.monotonic()
        stopped = asyncio.run(_feed(file, plan, base, token, state, rejects, rate))
    except (mappings.MappingError, rows.ExportError, HubError) as error:
        console.print(f"[red]Cannot feed:[/red] {error}", highlight=False)
        raise typer.Exit(2) from error
    seconds = time.monotonic() - began
    counts = state.counts
    total = counts.received + counts.duplicate + counts.rejected
    print(f"received {counts.received}, duplicate {counts.duplicate}, rejected {counts.rejected}; rejects in {rejects}")
    print(
        json.dumps(
            {
                "received": counts.received,
                "duplicate": counts.duplicate,
                "rejected": counts.rejected,
                "rows": total,
                "rejects_file": str(rejects),
                "seconds": round(seconds, 3),
                "finished": not stopped,
            },
            ensure_ascii=False,
        )
    )
    if stopped:
        console.print("Interrupted. Run the same command to go on.")
        raise typer.Exit(130)
    state.path.unlink(missing_ok=True)


async def _feed(
    file: Path,
    plan: mappings.FieldMapping,
    base: str,
    token: str,
    state: State,
    rejects: Path,
    rate: float | None,
) -> bool:
    """Whether it was interrupted."""
    share = 0.0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        bar = bars.add_task("starting", total=1.0)
        told = time.monotonic()

        def show(counts: Counts, row: int) -> None:
            nonlocal told
            words = f"row {row}: received {counts.received}, duplicate {counts.duplicate}, rejected {counts.rejected}"
            bars.update(bar, completed=share, description=words)
            if not console.is_terminal and time.monotonic() - told > _TICK_S:
                told = time.monotonic()
                console.print(words, highlight=False)

        async def items() -> AsyncIterator[Item]:
            nonlocal share
            for number, row, done in rows.read(file, plan.encoding, plan.delimiter, plan.columns()):
                share = done
                if number < state.next_row:
                    continue
                if row is None:
                    yield Item(number, None, "the line is no JSON object")
                    continue
                try:
                    yield Item(number, plan.appeal(row))
                except mappings.RowError as error:
                    yield Item(number, None, str(error))

        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=120, trust_env=False) as client:
            sender = Sender(client, state, rejects, show, rate)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(number, sender.stopping.set)
            await _reachable(client)
            await sender.send(items())
            return sender.stopping.is_set()


async def _reachable(client: httpx.AsyncClient) -> None:
    """Fail at once, in words, when there is no hub; later outages are waited for."""
    try:
        await client.get("/health/ready")
    except httpx.TransportError as error:
        raise HubError(
            f"no hub answers at {client.base_url}: start one (`make run` or `make up`), or name it with url=…"
        ) from error


def _hub(settings: Settings, url: str | None) -> tuple[str, str]:
    """Base URL and token: given, else of the local stack's `stack.json` and `admin.token`."""
    stack = settings.data_dir / "stack.json"
    base = url or settings.url
    if url is None and not settings.base_url and stack.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            base = str(json.loads(stack.read_text(encoding="utf-8"))["base_url"])
    token = os.environ.get("SUSHU_FEED_TOKEN") or settings.admin_token
    path = settings.data_dir / "admin.token"
    if not token and path.is_file():
        token = path.read_text(encoding="utf-8").strip()
    if not token:
        raise HubError(f"no token: set SUSHU_FEED_TOKEN (role platform or seat), or start the stack that makes {path}")
    return base.rstrip("/"), token


def _key(file: Path, mapping: Path, base: str) -> str:
    """Names a feed: the same file, mapping and hub go on where they were."""
    digest = hashlib.sha256(base.encode())
    digest.update(mapping.read_bytes())
    with file.open("rb") as raw:
        digest.update(hashlib.file_digest(raw, "sha256").digest())
    return digest.hexdigest()


if __name__ == "__main__":
    typer.run(main)
