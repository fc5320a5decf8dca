"""Webhooks against a real receiver on a socket of its own, which answers well, and badly in many ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from services.journal.webhooks import repository
from services.journal.webhooks import sender as sender_module
from services.journal.webhooks.sender import Sender
from shared.events.catalog.appeals import Appeal, AppealReceived, AppealWithdrawn, Place, Reporter
from shared.http.outgoing import Outgoing, networks_of
from shared.ids import uuid7
from shared.testing.harness import Harness

LOOPBACK = "127.0.0.0/8"
Answer = Callable[["Push"], Awaitable[tuple[int, str]] | tuple[int, str]]


@dataclass
class Push:
    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def events(self) -> list[dict[str, Any]]:
        found = json.loads(self.body)
        return found if isinstance(found, list) else [found]


@dataclass
class Receiver:
    """A server of its own. `answer` gives status and further header lines; it may raise to cut the connection."""

    answer: Answer = lambda _: (204, "")
    got: list[Push] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    """events of the pushes that were answered 2xx"""
    port: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
                push = Push(headers, await reader.readexactly(int(headers["content-length"])), lines[0].split()[1])
                self.got.append(push)
                given = self.answer(push)
                status, more = await given if isinstance(given, Awaitable) else given
                if 200 <= status < 300:
                    self.taken += push.events
                writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\n{more}\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def until(self, enough: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not enough():
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(sender_module, "LOOK_S", 0.05)
    async with Harness.fresh(server_url, "journal", webhook_networks=LOOPBACK) as found:
        yield found


def appeal(identifier: str, region: str = "460106", status: str = "received") -> Appeal:
    return Appeal(
        id=identifier,
        platform="460100",
        reference_no="460100-20261102-000001",
        channel="web",
        text="小区门口路灯不亮",
        received_at=datetime(2026, 11, 2, 2, tzinfo=UTC),
        source_platform="460100",
        reporter=Reporter(pseudonym="ab" * 32, groups=["elderly"]),
        place=Place(region_code=region),
        rating_token_sha256=["cd" * 32],
        status=status,
    )


async def happen(hub: Harness, count: int, region: str = "460106") -> list[str]:
    """So many cases, each received and withdrawn; returns the ids of the events in the order of each case."""
    found = []
    for _ in range(count):
        case = uuid7()
        received = AppealReceived(actor="user:wang", after=appeal(case, region))
        withdrawn = AppealWithdrawn(actor="citizen", after=appeal(case, region, "withdrawn"))
        found += [
            await hub.emit(received, key=case, sequence=1),
            await hub.emit(withdrawn, key=case, sequence=2),
        ]
    await hub.settle()
    return found


def platform(hub: Harness, code: str) -> dict[str, str]:
    token, _ = hub.tokens.issue(f"machine-{code}", ["platform"], platform=code)
    return {"Authorization": f"Bearer {token}"}


async def subscribe(hub: Harness, url: str, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = await hub.http.post("/v1/webhooks", json={"url": url} | body, headers=headers or hub.admin)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def shown(hub: Harness, webhook: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await hub.http.get(f"/v1/webhooks/{webhook['id']}", headers=hub.admin)).json()
    return found


async def log_of(hub: Harness, webhook: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = await hub.http.get(f"/v1/webhooks/{webhook['id']}/deliveries", params=query, headers=hub.admin)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def execute(hub: Harness, sql: str, *values: Any) -> None:
    async with hub.runners["journal"].service.database.transaction() as uow:
        await uow.pg.execute(sql, *values)


async def test_every_event_arrives_signed_and_in_order_though_the_receiver_often_fails(
    hub: Harness, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.journal.webhooks.domain.FIRST_PAUSE_S", 0.01)

    async def moody(_: Push) -> tuple[int, str]:
        number = len(receiver.got)
        if number % 5 == 1:
            raise ConnectionError  # after the whole request was read
        return (500, "") if number % 5 == 3 else (200, "")

    receiver.answer = moody
    webhook = await subscribe(hub, receiver.url("/in?from=haikou"))
    ids = await happen(hub, 10)
    await receiver.until(lambda: len(receiver.taken) >= len(ids))
    verifier = Verifier(webhook["secret"])
    for push in receiver.got:
        assert verifier.verify(push.body, push.headers) == json.loads(push.body)
        assert push.headers["content-type"].startswith("application/cloudevents+json")
        assert push.headers["webhook-id"] == push.events[0]["id"]
        assert push.path == "/in?from=haikou"
    positions = [event["sushuposition"] for event in receiver.taken]
    assert positions == sorted(positions)
    assert {event["id"] for event in receiver.taken} == set(ids)
    with pytest.raises(WebhookVerificationError):
        verifier.verify(receiver.got[0].body + b" ", receiver.got[0].headers)
    log = await log_of(hub, webhook, outcome="failed")
    assert {line["status"] for line in log} == {None, 500}
    now = await shown(hub, webhook)
    assert (now["tries"], now["failing_since"], now["last_error"]) == (0, None, None)


async def test_a_list_of_events_is_one_request_and_types_are_chosen(hub: Harness, receiver: Receiver) -> None:
    webhook = await subscribe(hub, receiver.url(), batch=500, types=["appeal.withdrawn"], after="0")
    ids = await happen(hub, 20)
    await receiver.until(lambda: len(receiver.taken) >= 20)
    assert len(receiver.got) < 20
    assert receiver.got[0].headers["content-type"].startswith("application/cloudevents-batch+json")
    assert {event["id"] for event in receiver.taken} == set(ids[1::2])
    async with asyncio.timeout(5):
        while (await shown(hub, webhook))["position"] != "40":  # what it does not want is behind it, too
            await asyncio.sleep(0.05)


async def test_a_receiver_that_hangs_delays_no_other(hub: Harness, receiver: Receiver) -> None:
    forever = asyncio.Event()

    async def by_path(push: Push) -> tuple[int, str]:
        if push.path == "/slow":
            await forever.wait()
        return 204, ""

    receiver.answer = by_path
    for _ in range(5):
        await subscribe(hub, receiver.url("/slow"))
    quick = await subscribe(hub, receiver.url("/quick"))
    ids = await happen(hub, 10)
    await receiver.until(lambda: len(receiver.taken) == len(ids), seconds=5)
    assert (await shown(hub, quick))["failing_since"] is None


async def test_a_redirect_is_a_failure_and_is_not_followed(hub: Harness, receiver: Receiver) -> None:
    receiver.answer = lambda _: (307, f"Location: {receiver.url('/elsewhere')}\r\n")
    webhook = await subscribe(hub, receiver.url("/here"))
    await happen(hub, 1)
    await receiver.until(lambda: bool(receiver.got))
    async with asyncio.timeout(5):
        while not (log := await log_of(hub, webhook)):
            await asyncio.sleep(0.02)
    assert (log[0]["outcome"], log[0]["status"]) == ("failed", 307)
    assert "redirects are not followed" in log[0]["error"]
    assert {push.path for push in receiver.got} == {"/here"}


async def test_410_ends_it_until_somebody_resumes_it_and_nothing_is_lost(hub: Harness, receiver: Receiver) -> None:
    receiver.answer = lambda _: (410, "")
    webhook = await subscribe(hub, receiver.url())
    ids = await happen(hub, 3)
    async with asyncio.timeout(5):
        while (await shown(hub, webhook))["state"] != "gone":
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert len(receiver.got) == 1
    receiver.answer = lambda _: (200, "")
    answer = await hub.http.post(f"/v1/webhooks/{webhook['id']}/resume", headers=hub.admin)
    assert answer.json()["state"] == "active"
    await receiver.until(lambda: len(receiver.taken) == len(ids))
    assert {event["id"] for event in receiver.taken} == set(ids)


async def test_a_receiver_says_when_to_come_again(hub: Harness, receiver: Receiver) -> None:
    receiver.answer = lambda _: (429, "Retry-After: 3600\r\n")
    webhook = await subscribe(hub, receiver.url())
    await happen(hub, 1)
    await receiver.until(lambda: bool(receiver.got))
    await asyncio.sleep(1.5)  # its own first pause would have been a second
    assert len(receiver.got) == 1
    assert (await shown(hub, webhook))["tries"] == 1


async def test_after_the_stated_time_events_are_given_up_told_so_and_replayed_by_a_person(
    hub: Harness, receiver: Receiver
) -> None:
    receiver.answer = lambda _: (500, "")
    webhook = await subscribe(hub, receiver.url(), give_up_s=60)
    old = await happen(hub, 2)
    await receiver.until(lambda: bool(receiver.got))
    await asyncio.sleep(0.1)
    await execute(hub, "UPDATE journal.events SET written_at = written_at - interval '61 seconds'")
    new = await happen(hub, 1)
    # 59 seconds have passed: everything is still tried
    await execute(hub, "UPDATE journal.webhooks SET failing_since = now() - interval '59 s', retry_at = now()")
    await receiver.until(lambda: len(receiver.got) >= 2)
    assert await log_of(hub, webhook, outcome="dead") == []
    await execute(hub, "UPDATE journal.webhooks SET failing_since = now() - interval '61 s', retry_at = now()")
    await receiver.until(lambda: len(receiver.got) >= 3)
    async with asyncio.timeout(5):
        while not (dead := await log_of(hub, webhook, outcome="dead")):
            await asyncio.sleep(0.02)
    assert (dead[0]["first_position"], dead[0]["last_position"], dead[0]["events"]) == ("1", "4", 4)
    receiver.answer = lambda _: (200, "")
    await execute(hub, "UPDATE journal.webhooks SET retry_at = now()")
    await receiver.until(lambda: len(receiver.taken) == 2)
    assert {event["id"] for event in receiver.taken} == set(new)
    answer = await hub.http.post(f"/v1/webhooks/{webhook['id']}/replay", json={"after": "0"}, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    await receiver.until(lambda: len(receiver.taken) == 8)
    assert {event["id"] for event in receiver.taken[2:]} == {*old, *new}


async def test_replicas_share_the_work_and_what_a_dead_one_held_is_sent_again(hub: Harness, receiver: Receiver) -> None:
    service = hub.runners["journal"].service
    key = bytes(32)
    others = [
        Sender(service.database, hub.clock, key, Outgoing(networks_of(LOOPBACK), timeout_s=5), asyncio.Event)
        for _ in range(2)
    ]
    tasks = [asyncio.create_task(one.run()) for one in others]
    for number in range(4):
        await subscribe(hub, receiver.url(f"/{number}"))
    ids = await happen(hub, 25)
    await receiver.until(lambda: len(receiver.taken) == 4 * len(ids))
    for number in range(4):
        own = [push.events[0]["sushuposition"] for push in receiver.got if push.path == f"/{number}"]
        assert own == list(range(1, 51))  # none twice, none before its turn
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_sender_with_nothing_to_do_rests(hub: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0
    claim = repository.claim

    async def counted(*arguments: Any) -> Any:
        nonlocal claims
        claims += 1
        return await claim(*arguments)

    await happen(hub, 1)  # it was woken once
    monkeypatch.setattr(repository, "claim", counted)
    await asyncio.sleep(1)
    assert 0 < claims <= 1 / sender_module.LOOK_S + 2


async def test_what_a_dead_sender_held_is_sent_by_another_and_its_late_word_counts_for_nothing(
    hub: Harness, receiver: Receiver
) -> None:
    webhook = await subscribe(hub, receiver.url())
    await execute(hub, "UPDATE journal.webhooks SET lease = 'dead', leased_until = now() + interval '60 s'")
    ids = await happen(hub, 1)
    await asyncio.sleep(0.3)
    assert receiver.got == []
    await execute(hub, "UPDATE journal.webhooks SET leased_until = now() - interval '1 ms'")
    await receiver.until(lambda: len(receiver.taken) == len(ids))
    async with asyncio.timeout(5):
        while (await shown(hub, webhook))["position"] != "2":
            await asyncio.sleep(0.02)
    async with hub.runners["journal"].service.database.transaction() as uow:
        row = await uow.pg.fetchrow("SELECT * FROM journal.webhooks")
        late = await repository.advance(uow.pg, repository._webhook(row), "dead", position=1)
    assert late is False
    assert (await shown(hub, webhook))["position"] == "2"


async def test_nothing_is_sent_while_it_pauses_and_nothing_after_it_is_removed(
    hub: Harness, receiver: Receiver
) -> None:
    webhook = await subscribe(hub, receiver.url())
    await hub.http.post(f"/v1/webhooks/{webhook['id']}/pause", headers=hub.admin)
    ids = await happen(hub, 2)
    await asyncio.sleep(0.3)
    assert receiver.got == []
    await hub.http.post(f"/v1/webhooks/{webhook['id']}/resume", headers=hub.admin)
    await receiver.until(lambda: len(receiver.taken) == len(ids))
    assert (await hub.http.delete(f"/v1/webhooks/{webhook['id']}", headers=hub.admin)).status_code == 200
    await happen(hub, 1)
    await asyncio.sleep(0.3)
    assert len(receiver.got) == len(ids)
    assert (await hub.http.get(f"/v1/webhooks/{webhook['id']}", headers=hub.admin)).status_code == 404


async def test_a_new_secret_signs_beside_the_old_one(hub: Harness, receiver: Receiver) -> None:
    webhook = await subscribe(hub, receiver.url())
    changed = (await hub.http.post(f"/v1/webhooks/{webhook['id']}/secret", headers=hub.admin)).json()
    assert changed["secret"] != webhook["secret"]
    await happen(hub, 1)
    await receiver.until(lambda: len(receiver.taken) == 2)
    for secret in (webhook["secret"], changed["secret"]):
        Verifier(secret).verify(receiver.got[0].body, receiver.got[0].headers)
    await execute(hub, "UPDATE journal.webhooks SET rotated_at = rotated_at - interval '25 hours'")
    await happen(hub, 1)
    await receiver.until(lambda: len(receiver.taken) == 4)
    Verifier(changed["secret"]).verify(receiver.got[-1].body, receiver.got[-1].headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(webhook["secret"]).verify(receiver.got[-1].body, receiver.got[-1].headers)


async def test_a_platform_gets_its_region_without_what_is_not_shared(hub: Harness, receiver: Receiver) -> None:
    await subscribe(hub, receiver.url("/province"), platform(hub, "460000"))
    await subscribe(hub, receiver.url("/district"), platform(hub, "460105"))
    await subscribe(hub, receiver.url("/narrowed"), platform(hub, "460000"), region="460105")
    here, there = await happen(hub, 1, region="460106"), await happen(hub, 1, region="460105003")
    await receiver.until(lambda: len(receiver.taken) == 8)
    by_path = {
        path: [push.events[0] for push in receiver.got if push.path == path]
        for path in ("/province", "/district", "/narrowed")
    }
    assert [event["id"] for event in by_path["/province"]] == here + there
    assert [event["id"] for event in by_path["/district"]] == there
    assert [event["id"] for event in by_path["/narrowed"]] == there
    for event in by_path["/province"]:
        assert "actor" not in event["data"]
        assert "pseudonym" not in event["data"]["after"]["reporter"]
        assert "rating_token_sha256" not in event["data"]["after"]
        assert event["data"]["after"]["reporter"]["groups"] == ["elderly"]


async def test_one_platform_knows_nothing_of_anothers_webhooks(hub: Harness, receiver: Receiver) -> None:
    webhook = await subscribe(hub, receiver.url(), platform(hub, "460000"))
    other = platform(hub, "460105")
    assert (await hub.http.get("/v1/webhooks", headers=other)).json()["items"] == []
    base = f"/v1/webhooks/{webhook['id']}"
    for method, path in (("GET", base), ("DELETE", base), ("POST", f"{base}/pause"), ("GET", f"{base}/deliveries")):
        assert (await hub.http.request(method, path, headers=other)).status_code == 404
    answer = await hub.http.post(f"{base}/replay", json={"after": "0"}, headers=other)
    assert answer.status_code == 404
    mine = (await hub.http.get("/v1/webhooks", headers=platform(hub, "460000"))).json()["items"]
    assert [item["id"] for item in mine] == [webhook["id"]]
    assert "secret" not in mine[0]
    stranger = await hub.http.post("/v1/webhooks", json={"url": receiver.url()}, headers=platform(hub, "460300"))
    assert (stranger.status_code, stranger.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/", "private network"),
        ("http://[::1]:9/", "private network"),
        ("http://[::ffff:10.0.0.1]/", "private network"),
        ("http://169.254.169.254/latest/meta-data", "private network"),
        ("https://10.1.2.3/", "private network"),
        ("ftp://example.com/", "http or https"),
        ("https://somebody@example.com/", "user or a password"),
        ("https://example.com/#part", "fragment"),
        ("https://", "with a host"),
        ("https://example.com:99999/", "no URL"),
        ("just words", None),
    ],
)
async def test_an_address_that_may_not_be_called_is_refused(server_url: str, url: str, words: str | None) -> None:
    async with Harness.fresh(server_url, "journal") as own:
        answer = await own.http.post("/v1/webhooks", json={"url": url}, headers=own.admin)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == "/url"
        assert words is None or words in answer.json()["errors"][0]["detail"]


async def test_a_name_that_leads_into_a_private_network_is_not_called(
    server_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "LOOK_S", 0.05)
    async with Harness.fresh(server_url, "journal") as own:
        webhook = await subscribe(own, receiver.url(host="localhost"))
        await happen(own, 1)
        async with asyncio.timeout(5):
            while not (log := await log_of(own, webhook)):
                await asyncio.sleep(0.02)
        assert "private network" in log[0]["error"]
        assert receiver.got == []


async def test_the_same_call_makes_one_webhook_and_tells_its_secret_again(hub: Harness, receiver: Receiver) -> None:
    headers = hub.admin | {"Idempotency-Key": "one"}
    first = await hub.http.post("/v1/webhooks", json={"url": receiver.url()}, headers=headers)
    again = await hub.http.post("/v1/webhooks", json={"url": receiver.url()}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    async with hub.runners["journal"].service.database.read() as pg:
        kept = await pg.fetchval("SELECT string_agg(answer::text, '') FROM journal.idempotency_keys")
    assert "whsec" not in kept
