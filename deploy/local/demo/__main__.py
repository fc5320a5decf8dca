"""The demo stream as a process of its own, against a running stack (`make up` starts it)."""

import asyncio
import contextlib

import httpx

from deploy.local.demo.stream import DemoStream
from deploy.local.keys import ensure_admin_token
from deploy.local.settings import LocalSettings
from shared.service.turned_clock import following, make_clock
from shared.telemetry import logs


async def _main(settings: LocalSettings) -> None:
    token, _ = ensure_admin_token(settings.data_dir, settings.admin_token)
    clock = await make_clock(settings)
    headers = {"Authorization": f"Bearer {token}"}
    asking = httpx.AsyncClient(base_url=settings.local_url, headers=headers, timeout=30, trust_env=False)
    async with asking as client, following(clock, "demo"):
        await DemoStream(client, settings.platform, now=clock.now).run()


if __name__ == "__main__":
    chosen = LocalSettings.from_environment()
    logs.configure(chosen.log_level, "demo")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(chosen))
