"""The services of a stack as programs to supervise."""

import asyncio
import os
import sys

import httpx

from deploy.local.errors import StackError
from deploy.local.process import Program, tail
from deploy.local.routes import CHECKOUT
from deploy.local.stack import Stack

SERVICE_PATIENCE_S = 20.0
"""How long a service may take to answer its last requests when it is asked to end."""


async def prepare_all(stack: Stack) -> None:
    """`prepare.py` in a process of its own, so that the supervisor stays small. Raises StackError with what it said."""
    log = stack.folder.log("prepare")
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local", "prepare"),
            env=environment(stack),
            cwd=CHECKOUT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            raise
    if status != 0:
        raise StackError(f"The services could not be prepared. The end of {log}:\n{tail(log, 20)}")


def environment(stack: Stack) -> dict[str, str]:
    """Environment of every process of the stack."""
    settings = stack.settings
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "SUSHU_DATA_DIR": str(settings.data_dir),
        "SUSHU_PLATFORMS": settings.platforms,
        "SUSHU_KEY_DIR": str(settings.keys),
        "SUSHU_BASE_URL": settings.url,
        "DATABASE_URL": stack.services_url,
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka or "",
    }


def service_program(stack: Stack, name: str, port: int) -> Program:
    """One service as a program to supervise, on a loopback port."""

    async def is_live() -> bool:
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/ops/{name}/health/live")
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    return Program(
        name=name,
        argv=(sys.executable, "-m", f"services.{name}"),
        env={**environment(stack), "SUSHU_SERVICE_HOST": "127.0.0.1", "SUSHU_SERVICE_PORT": str(port)},
        log=stack.folder.log(name),
        is_ready=is_live,
        stop_patience_s=SERVICE_PATIENCE_S,
    )


def demo_program(stack: Stack) -> Program:
    """The demo stream as a program to supervise."""
    return Program(
        name="demo",
        argv=(sys.executable, "-m", "deploy.local.demo"),
        env=environment(stack),
        log=stack.folder.log("demo"),
    )
