"""A language model's advice: a real HTTP server that answers well, and badly in every way that we could think of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from services.classify.advice import endpoint as endpoint_module
from services.classify.advice.adviser import AT_ONCE, Adviser
from services.classify.advice.endpoint import FAILURES, Endpoint
from services.classify.domain.advice import MOST_TOKENS
from services.classify.settings import LanguageModel
from shared.testing.harness import Harness
from tests.integration.classify.sayings import VAGUE, receive

Reply = Callable[[dict[str, Any], asyncio.StreamWriter], Awaitable[None]]
KEY = "a-key-of-this-test"


@dataclass
class Model:
    """A server of its own; `reply` is what it does with a question."""

    reply: Reply
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(
                    next(line for line in head.lower().split("\r\n") if "content-length" in line).split(":")[1]
                )
                body = json.loads(await reader.readexactly(int(length)))
                self.asked.append(body)
                self.headers.append(head)
                await self.reply(body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def http(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def completion(content: Any, tokens: Any = 321) -> bytes:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": {"total_tokens": tokens}}).encode()


def codes(body: dict[str, Any]) -> list[str]:
    return [one["code"] for one in json.loads(body["messages"][1]["content"])["candidates"]]


def answers(make: Callable[[dict[str, Any]], bytes]) -> Reply:
    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(http(make(body)))

    return reply


def second(body: dict[str, Any]) -> bytes:
    return completion({"matter": codes(body)[1], "why": "第二个更符合"})


@pytest_asyncio.fixture(loop_scope="session")
async def model() -> AsyncIterator[Model]:
    found = Model(answers(second))
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield found
    server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def desk(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "classify") as hub:
        yield hub


def adviser_of(desk: Harness, model: Model, *, timeout_s: float = 2.0, tokens_per_day: int = 1_000_000) -> Adviser:
    chosen = LanguageModel(model.url, "tests-own", timeout_s, tokens_per_day)
    return Adviser(desk.runners["classify"].service.database, Endpoint(chosen, KEY), chosen)


async def queue(desk: Harness) -> dict[str, Any]:
    answer = await desk.http.get("/v1/reviews", headers=desk.token("seat", sub="wang"))
    return {item["appeal_id"]: item for item in answer.json()["items"]}


async def waiting(desk: Harness, text: str = VAGUE) -> str:
    case = await receive(desk, text)
    await desk.settle()
    return case


async def test_advice_stands_beside_the_candidates_and_decides_nothing(desk: Harness, model: Model) -> None:
    case = await waiting(desk)
    before = (await queue(desk))[case]
    assert before["advice"] is None
    assert await adviser_of(desk, model).ask_some() == 1
    after = (await queue(desk))[case]
    chosen = after["candidates"][1]["code"]
    assert after["advice"] == {"state": "given", "model": "tests-own", "matter": chosen, "why": "第二个更符合"}
    assert after | {"advice": None} == before
    assert f"authorization: bearer {KEY}" in model.headers[0].lower()
    assert model.asked[0]["response_format"]["json_schema"]["schema"]["properties"]["matter"]["enum"] == [
        *(one["code"] for one in after["candidates"]),
        "none",
    ]
    seat = desk.token("seat", sub="wang")
    await desk.http.post(f"/v1/reviews/{case}", json={"matter": chosen}, headers=seat)
    quality = (await desk.http.get("/v1/classify/quality", headers=desk.admin)).json()
    assert quality["advice"] == [{"model": "tests-own", "given": 1, "agreed": 1}]


async def test_an_equal_question_is_asked_once(desk: Harness, model: Model) -> None:
    first, again = await waiting(desk), await waiting(desk)
    adviser = adviser_of(desk, model)
    await adviser.ask_some()
    later = await waiting(desk)
    await adviser.ask_some()
    items = await queue(desk)
    assert len(model.asked) == 1
    assert {items[case]["advice"]["state"] for case in (first, again, later)} == {"given"}
    spent = await desk.query("SELECT sum(tokens)::int AS tokens FROM classify.advice")
    assert spent[0]["tokens"] == 321


async def test_none_of_the_candidates_is_an_answer(desk: Harness, model: Model) -> None:
    model.reply = answers(lambda body: completion({"matter": "none", "why": "都不符合"}))
    case = await waiting(desk)
    await adviser_of(desk, model).ask_some()
    assert (await queue(desk))[case]["advice"]["matter"] is None
    assert (await queue(desk))[case]["advice"]["state"] == "given"


async def redirects(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(http(b"", "302 Found", "Location: http://127.0.0.1:1/stolen\r\n"))


async def fails(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(http(b"oops", "500 Internal Server Error"))


async def too_many(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(http(b"{}", "429 Too Many Requests", "Retry-After: 5\r\n"))


async def hangs(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def trickles(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(50):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def hangs_up(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    writer.close()


async def talks_for_ever(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
    for _ in range(200):
        writer.write(b"x" * 65536)
        await writer.drain()


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (fails, "failed"),
        (too_many, "failed"),
        (redirects, "failed"),
        (hangs, "failed"),
        (trickles, "failed"),
        (hangs_up, "failed"),
        (talks_for_ever, "refused"),
        (answers(lambda body: b"<html>Welcome</html>"), "refused"),
        (answers(lambda body: b"\xff\xfe" * 40), "refused"),
        (answers(lambda body: b'{"choices": []}'), "refused"),
        (answers(lambda body: completion("我觉得应该是第二个")), "refused"),
        (answers(lambda body: completion({"matter": "99999999", "why": "文中让我这么选"})), "refused"),
        (answers(lambda body: completion({"matter": ["02010201"], "why": 1})), "refused"),
        (answers(lambda body: completion("[" * 20_000)), "refused"),
    ],
)
async def test_whatever_it_does_the_case_waits_for_its_person_as_before(
    desk: Harness, model: Model, reply: Reply, state: str
) -> None:
    model.reply = reply
    case = await waiting(desk)
    before = (await queue(desk))[case]
    async with asyncio.timeout(4):
        assert await adviser_of(desk, model, timeout_s=0.5).ask_some() == 1
    after = (await queue(desk))[case]
    assert after["advice"]["state"] == state
    assert after["advice"]["matter"] is None
    assert after | {"advice": None} == before


async def test_a_failing_endpoint_is_left_alone_and_asked_again_later(
    desk: Harness, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.reply = fails
    for number in range(FAILURES + 8):
        await receive(desk, f"{VAGUE}，第{number}次了")
    await desk.settle()
    adviser = adviser_of(desk, model)
    while await adviser.ask_some():
        pass
    asked = len(model.asked)
    assert FAILURES <= asked < FAILURES + AT_ONCE
    assert not adviser.endpoint.open
    monkeypatch.setattr(endpoint_module, "loop_time", lambda: adviser.endpoint._closed_until)
    model.reply = answers(second)
    async with adviser.database.transaction() as uow:  # the minutes until it is asked again have passed
        await uow.pg.execute("UPDATE classify.advice SET again_at = now() - interval '1 second'")
    while await adviser.ask_some():
        pass
    assert {item["advice"]["state"] for item in (await queue(desk)).values()} == {"given"}


async def test_no_more_is_asked_than_the_days_tokens_allow(desk: Harness, model: Model) -> None:
    model.reply = answers(lambda body: completion({"matter": codes(body)[0], "why": ""}, tokens=MOST_TOKENS))
    for number in range(5):
        await receive(desk, f"{VAGUE}，第{number}次了")
    await desk.settle()
    adviser = adviser_of(desk, model, tokens_per_day=2 * MOST_TOKENS + 5)
    while await adviser.ask_some():
        pass
    assert len(model.asked) == 2
    assert [item["advice"] for item in (await queue(desk)).values()].count(None) == 3


async def test_what_it_says_is_shown_without_personal_data_or_control_characters(desk: Harness, model: Model) -> None:
    why = "来电人电话13800138000\u202e\x07希望处理" + "很" * 500
    model.reply = answers(lambda body: completion({"matter": codes(body)[0], "why": why}))
    case = await waiting(desk)
    await adviser_of(desk, model).ask_some()
    shown = (await queue(desk))[case]["advice"]["why"]
    assert "13800138000" not in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    assert len(shown) <= 220


async def test_two_replicas_never_ask_about_one_case(desk: Harness, model: Model) -> None:
    for number in range(40):
        await receive(desk, f"{VAGUE}，第{number}次了")
    await desk.settle()
    replicas = [adviser_of(desk, model) for _ in range(6)]

    async def work(adviser: Adviser) -> None:
        while await adviser.ask_some():
            pass

    await asyncio.gather(*(work(adviser) for adviser in replicas))
    texts = [body["messages"][1]["content"] for body in model.asked]
    assert len(texts) == len(set(texts)) == 40


@pytest.mark.parametrize(
    "section",
    [
        {"url": "ftp://example.com/v1", "model": "m"},
        {"url": "http://127.0.0.1:1/v1", "model": ""},
        {"url": "http://127.0.0.1:1/v1"},
        {"url": "http://127.0.0.1:1/v1", "model": "m", "timeout_s": 0},
        {"url": "http://127.0.0.1:1/v1", "model": "m", "api_key": "here"},
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"profile\.yaml, classify, llm"):
        LanguageModel.of(section)
