"""The services that a local stack runs, in one place, in the order of the loop."""

import os
import sys
from pathlib import Path

import httpx

from deploy.local.process import Program
from deploy.local.stack import Stack

CHECKOUT = Path(__file__).parents[2]

WORDS = {
    "intake": "诉求受理",
    "classify": "智能分类",
    "dispatch": "精准派单",
    "sla": "时限督办",
    "feedback": "回访评价",
    "evaluate": "考核评估",
    "journal": "事件总账",
}


def local_services() -> list[str]:
    """Names of the services of this checkout, in the order of the loop."""
    return [name for name in WORDS if (CHECKOUT / "services" / name / "bootstrap.py").exists()]


def environment(stack: Stack) -> dict[str, str]:
    """Environment of every process of the stack."""
    settings = stack.settings
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "SUSHU_DATA_DIR": str(settings.data_dir),
        "SUSHU_BASE_URL": settings.url,
        "DATABASE_URL": stack.database_url,
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
    )


async def set_up(stack: Stack, log: Path) -> None:
    """Migrations, topics and the demo city."""
