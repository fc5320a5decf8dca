"""`make feed` against a real HTTP port: counts, duplicates, rejects, interruption, an outage (api.md, Make targets)."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
import uvicorn

from shared.testing.harness import ADMIN_TOKEN, Harness

MAPPING = """
columns:
  编号: external_id
  标题: title
  内容: text
  时间: {field: occurred_at, format: "%Y/%m/%d %H:%M", zone: "+08:00"}
  类型: {field: kind, map: {咨询: consult, 投诉: complaint}, default: other}
  地点: {field: location.address, empty: ["无"]}
  纬度: {field: location.lat, range: [3, 54]}
  经度: {field: location.lon, range: [73, 136]}
  来电: reporter.phone
constants: {channel: phone, source_platform: "feed-test"}
"""


def row(number: int | str, **changes: str) -> dict[str, str]:
    return {
        "编号": f"F-{number}",
        "标题": "路灯不亮",
        "内容": f"龙华区海垦街道第{number}盏路灯不亮",
        "时间": "2025/3/1 08:05",
        "类型": "投诉",
        "地点": "龙华区海垦街道",
        "纬度": "191865.19",
        "经度": "110.33",
        "来电": "13800138000",
    } | changes


class Hub:
    """A port that can be closed and opened again."""

    def __init__(self, hub: Harness, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        config = uvicorn.Config(self.hub.apps["intake"], port=self.port, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        assert self._task is not None
        self._server.should_exit = True
        await self._task

    async def feed(self, file: Path, *more: str, mapping: str = MAPPING) -> asyncio.subprocess.Process:
        plan = self.folder / "mapping.yaml"
        plan.write_text(mapping, encoding="utf-8")
        environment = os.environ | {
            "SUSHU_DATA_DIR": str(self.folder / "data"),
            "SUSHU_ADMIN_TOKEN": ADMIN_TOKEN,
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }
        command = ["-m", "tools.feed", "--file", str(file), "--mapping", str(plan)]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--url",
            f"http://127.0.0.1:{self.port}",
            *more,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def fed(self, file: Path, *more: str, mapping: str = MAPPING, status: int = 0) -> dict[str, Any]:
        process = await self.feed(file, *more, mapping=mapping)
        out, errors = await process.communicate()
        assert process.returncode == status, errors.decode()
        result: dict[str, Any] = json.loads(out.decode().splitlines()[-1]) if out else {"error": errors.decode()}
        return result


@pytest_asyncio.fixture(loop_scope="session")
async def door(hub: Harness, tmp_path: Path) -> AsyncIterator[Hub]:
    opened = Hub(hub, tmp_path)
    await opened.open()
    yield opened
    await opened.close()


def write_lines(path: Path, rows: list[dict[str, str]]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for line in rows:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def read_rejects(path: str) -> tuple[int, dict[int, Any]]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return Path(path).stat().st_mode & 0o777, {line["row"]: line for line in map(json.loads, lines)}


def counts(result: dict[str, Any]) -> tuple[int, int, int]:
    return result["received"], result["duplicate"], result["rejected"]


async def arrived(door: Hub, pattern: str, least: int) -> None:
    """Wait until so many appeals of a feed are there."""
    sql = "SELECT count(*) FROM intake.appeals WHERE snapshot->>'text' LIKE $1"
    async with asyncio.timeout(60):
        while (await door.hub.query(sql, pattern))[0][0] < least:
            await asyncio.sleep(0.05)


async def test_a_second_feed_finds_everything_there(door: Hub) -> None:
    file = write_lines(door.folder / "export.jsonl.gz", [row(f"a{number}") for number in range(1200)])
    assert counts(await door.fed(file)) == (1200, 0, 0)
    assert counts(await door.fed(file)) == (0, 1200, 0)


async def test_rejects_are_counted_and_kept_with_their_reason(door: Hub) -> None:
    rows = [
        row("b1"),
        row("b2", 内容=""),
        row("b3", 时间="昨天"),
        row("b4", 来电="无号码"),
        row("b5"),
        row("b5", 内容="另一件"),
    ]
    file = write_lines(door.folder / "export.jsonl.gz", rows)
    result = await door.fed(file)
    assert counts(result) == (2, 0, 4)
    mode, told = read_rejects(result["rejects_file"])
    assert mode == 0o600
    assert sorted(told) == [2, 3, 4, 6]
    assert told[2]["errors"][0]["pointer"] == "/text"
    assert (told[3]["code"], "时间" in told[3]["detail"]) == ("mapping", True)
    assert told[6]["code"] == "external_id_conflict"


async def test_a_csv_is_as_good(door: Hub) -> None:
    file = door.folder / "export.csv"
    with file.open("w", encoding="gb18030", newline="") as out:
        writer = csv.DictWriter(out, list(row(1)))
        writer.writeheader()
        writer.writerows(row(f"c{number}", 内容=f"第{number}处，\n井盖破损") for number in range(30))
    assert counts(await door.fed(file, mapping=MAPPING + "encoding: gb18030\n")) == (30, 0, 0)


async def test_what_the_mapping_says_arrives(door: Hub) -> None:
    file = write_lines(door.folder / "export.jsonl.gz", [row("d1", 类型="未知", 经度="110.33", 纬度="20.03")])
    await door.fed(file)
    await door.hub.settle()
    (event,) = [
        event
        for event in await door.hub.events("intake.appeals.v1")
        if event.type == "appeal.received" and "第d1盏" in event.data.after.text
    ]
    after = event.data.after
    assert after.kind == "other"
    assert after.occurred_at.isoformat() == "2025-03-01T08:05:00+08:00" or after.occurred_at.hour == 0
    assert after.place.region_code == "460106005"
    assert (after.place.lon, after.place.lat) == (110.33, 20.03)
    assert after.source_platform == "feed-test"


async def test_an_interrupted_feed_goes_on_where_it_was(door: Hub) -> None:
    file = write_lines(door.folder / "export.jsonl.gz", [row(f"e{number}") for number in range(300)])
    process = await door.feed(file, "--rate", "60")
    await arrived(door, "%第e%盏%", 20)
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert process.returncode == 130
    first = json.loads(out.decode().splitlines()[-1])
    assert first["finished"] is False
    assert 0 < first["received"] < 300
    assert counts(await door.fed(file)) == (300, 0, 0)
    assert list((door.folder / "data" / "feed").glob("*.json")) == []


async def test_a_hub_that_goes_away_is_waited_for(door: Hub) -> None:
    file = write_lines(door.folder / "export.jsonl.gz", [row(f"f{number}") for number in range(100)])
    process = await door.feed(file, "--rate", "40")
    await arrived(door, "%第f%盏%", 10)
    await door.close()
    await asyncio.sleep(1.0)
    await door.open()
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    received, duplicate, rejected = counts(json.loads(out.decode().splitlines()[-1]))
    assert (received + duplicate, rejected) == (100, 0)
    kept = await door.hub.query("SELECT count(*) FROM intake.appeals WHERE snapshot->>'text' LIKE '%第f%盏%'")
    assert kept[0][0] == 100


async def test_a_wrong_mapping_is_explained(door: Hub) -> None:
    file = write_lines(door.folder / "export.jsonl.gz", [row("g1")])
    for mapping, word in (
        ("内容: text", "channel"),
        ("内容: words", "words"),
        ("- text", "column: field"),
        ("columns: {内容: {field: text, colour: red}}", "colour"),
    ):
        result = await door.fed(file, mapping=mapping, status=2)
        assert word in result["error"]
    told = (await door.fed(door.folder / "none.csv", status=2))["error"]
    assert "no file" in " ".join(told.split())  # the terminal's width breaks the line


async def test_the_example_mapping_is_valid() -> None:
    from tools.feed import mapping

    plan = mapping.load(Path(__file__).parents[3] / "docs/examples/haikou-mapping.yaml")
    body = plan.appeal(
        {
            "工单编号": "1",
            "诉求内容": "路灯",
            "诉求类型": "咨询类",
            "工单发起时间": "2018/1/1 9:05:00",
            "诉求地址": "null",
        }
    )
    assert plan.appeal({"诉求内容": "路灯", "工单发起时间": "2018/1/1"})["occurred_at"] == "2018-01-01T00:00:00+08:00"
    assert "occurred_at" not in plan.appeal({"诉求内容": "路灯", "工单发起时间": "元旦"})
    assert body == {
        "external_id": "1",
        "text": "路灯",
        "kind": "consult",
        "occurred_at": "2018-01-01T09:05:00+08:00",
        "channel": "phone",
    }
