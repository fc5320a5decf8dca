"""Idle connections: the side that opened one closes it, so that no request meets a closing connection."""

import asyncio
import contextlib
import socket
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from deploy.local.gateway import IDLE_UPSTREAM_S, Gateway
from shared.service.process import KEEP_ALIVE_S, server_config

PAUSE_S = 6
"""longer than uvicorn keeps idle connections by itself"""


async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_a_connection_is_still_open_after_a_pause() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = server_config(answer, "127.0.0.1", port)
        config.lifespan = "off"
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]  # the test run keeps its own
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for pause in (PAUSE_S, 0):
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\nok")
            assert head.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(pause)
        writer.close()
        server.should_exit = True
        await serving


def test_the_gateway_gives_up_idle_connections_before_the_services_do() -> None:
    gateway = Gateway(Path(), "127.0.0.1", 1, "", 2, {"intake": 3}, [], Path())
    kept = [
        handler["transport"]["keep_alive"]["idle_timeout"]
        for route in gateway.configuration()["apps"]["http"]["servers"]["sushu"]["routes"]
        for handler in route["handle"]
        if handler["handler"] == "reverse_proxy"
    ]
    assert set(kept) == {f"{IDLE_UPSTREAM_S}s"}
    assert KEEP_ALIVE_S > 2 * IDLE_UPSTREAM_S
