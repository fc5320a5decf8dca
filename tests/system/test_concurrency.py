"""Many clients at the same moment: exactly one is first, and every other hears what api.md says."""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

CLIENTS = 20


def at_once(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """The answers of calls that start together."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def body(**more: Any) -> dict[str, Any]:
    return {"channel": "web", "text": "楼下路灯不亮", "location": {"region_code": "460106"}} | more


def until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


@pytest.fixture
def order(http: httpx.Client) -> dict[str, Any]:
    """An order that waits for its lead to accept it; its citizen is asked through a link."""
    appeal = http.post("/v1/appeals", json=body(text=f"路灯不亮 {uuid.uuid4().hex}")).json()
    identifier = until(lambda: http.get(f"/v1/appeals/{appeal['id']}").json()["work_orders"], "the order")[0]["id"]
    unit = http.get("/v1/units", params={"region": "460106", "limit": 1}).json()["items"][0]["code"]
    answer = http.post(f"/v1/work-orders/{identifier}/transfer", json={"lead": unit, "reason": "测试"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found | {"appeal": appeal}


def test_of_clients_that_accept_the_same_order_one_wins(http: httpx.Client, order: dict[str, Any]) -> None:
    path = f"/v1/work-orders/{order['id']}/accept"
    answers = at_once([lambda: http.post(path, json={})] * CLIENTS)
    assert statuses(answers) == {200: 1, 409: CLIENTS - 1}
    for lost in (answer.json() for answer in answers if answer.status_code == 409):
        assert lost["code"] == "invalid_transition"
        assert "complete" in lost["actions"]
    assert http.get(f"/v1/work-orders/{order['id']}").json()["version"] == order["version"] + 1


def test_of_clients_that_saw_the_same_version_one_writes(http: httpx.Client, order: dict[str, Any]) -> None:
    http.post(f"/v1/work-orders/{order['id']}/accept", json={})
    path, seen = f"/v1/work-orders/{order['id']}/progress", {"If-Match": f'"{order["version"] + 1}"'}
    answers = at_once([lambda: http.post(path, json={"note": "在路上"}, headers=seen)] * CLIENTS)
    assert statuses(answers) == {200: 1, 412: CLIENTS - 1}
    assert {answer.json()["version"] for answer in answers if answer.status_code == 412} == {order["version"] + 2}


def test_accepting_again_with_the_same_key_gives_the_first_answer(http: httpx.Client, order: dict[str, Any]) -> None:
    path, key = f"/v1/work-orders/{order['id']}/accept", {"Idempotency-Key": uuid.uuid4().hex}
    answers = at_once([lambda: http.post(path, json={}, headers=key)] * CLIENTS)
    assert statuses(answers) == {200: CLIENTS}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert http.get(f"/v1/work-orders/{order['id']}").json()["version"] == order["version"] + 1


@pytest.mark.parametrize("known_by", ["external_id", "Idempotency-Key"])
def test_the_same_appeal_from_many_clients_is_received_once(http: httpx.Client, known_by: str) -> None:
    name = uuid.uuid4().hex
    headers = {known_by: name} if known_by == "Idempotency-Key" else {}
    content = body() if headers else body(external_id=name)
    answers = at_once([lambda: http.post("/v1/appeals", json=content, headers=headers)] * CLIENTS)
    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    assert len({(answer.json()["id"], answer.json()["query_code"]) for answer in answers}) == 1


def test_one_external_id_with_different_bodies_is_the_first_ones(http: httpx.Client) -> None:
    name = uuid.uuid4().hex
    answers = at_once(
        [
            lambda number=number: http.post("/v1/appeals", json=body(external_id=name, title=str(number)))  # type: ignore[misc]
            for number in range(CLIENTS)
        ]
    )
    assert statuses(answers) == {201: 1, 409: CLIENTS - 1}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"external_id_conflict"}


def test_one_key_with_different_bodies_is_the_first_ones(http: httpx.Client) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = at_once(
        [
            lambda number=number: http.post("/v1/appeals", json=body(title=str(number)), headers=key)  # type: ignore[misc]
            for number in range(CLIENTS)
        ]
    )
    assert statuses(answers) == {201: 1, 409: CLIENTS - 1}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"idempotency_conflict"}


def test_a_batch_and_single_calls_with_the_same_external_ids_receive_each_once(http: httpx.Client) -> None:
    names = [uuid.uuid4().hex for _ in range(CLIENTS)]
    lines = "\n".join(json.dumps(body(external_id=name), ensure_ascii=False) for name in [*names, *names]).encode()

    def batch() -> httpx.Response:
        return http.post("/v1/appeals/batch", content=lines)

    def single(name: str) -> Callable[[], httpx.Response]:
        return lambda: http.post("/v1/appeals", json=body(external_id=name))

    first, second, *singles = at_once([batch, batch, *(single(name) for name in names)])
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for answer in (first, second):
        for line in map(json.loads, answer.text.splitlines()):
            found[names[(line["line"] - 1) % CLIENTS]].append((line["status"], line["id"]))
    for name, answer in zip(names, singles, strict=True):
        found[name].append((answer.status_code, answer.json()["id"]))
    for seen in found.values():
        assert Counter(status for status, _ in seen) == {201: 1, 200: 4}
        assert len({identifier for _, identifier in seen}) == 1


def test_withdrawing_and_declining_at_once_ends_a_case_one_way(http: httpx.Client) -> None:
    path = f"/v1/appeals/{http.post('/v1/appeals', json=body()).json()['id']}"
    answers = at_once(
        [
            lambda: http.post(f"{path}/withdraw", json={}),
            lambda: http.post(f"{path}/decline", json={"reason": "不属于受理范围"}),
        ]
        * 5
    )
    assert statuses(answers) == {200: 1, 409: 9}
    items = http.get(f"{path}/timeline").json()["items"]
    assert sum(item["type"] in ("appeal.withdrawn", "appeal.declined") for item in items) == 1


def test_a_rating_link_is_used_once(http: httpx.Client, order: dict[str, Any]) -> None:
    for action, content in (("accept", {}), ("complete", {"result": "已修好", "solved": True})):
        assert http.post(f"/v1/work-orders/{order['id']}/{action}", json=content).status_code == 200
    pair = {name: order["appeal"][name] for name in ("reference_no", "query_code")}
    link = until(lambda: http.get("/v1/track", params=pair).json().get("rating_url"), "the link")
    path = httpx.URL(link).path
    until(lambda: http.get(path).status_code == 200, "the open rating")
    answers = at_once(
        [
            lambda value=value: http.post(path, json={"contacted": True, "solved": True, "satisfaction": value})  # type: ignore[misc]
            for value in (1, 2, 3, 4, 5) * 2
        ]
    )
    assert statuses(answers) == {200: 1, 409: 9}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"rating_used"}


def test_of_rulings_on_one_dispute_one_holds(http: httpx.Client, order: dict[str, Any]) -> None:
    for _ in range(2):
        assert http.post(f"/v1/work-orders/{order['id']}/return", json={"reason": "not_my_duty"}).status_code == 200
    disputes = http.get("/v1/disputes", params={"status": "open", "limit": 200}).json()["items"]
    dispute = next(item for item in disputes if item["work_order_id"] == order["id"])
    units = [unit["code"] for unit in http.get("/v1/units", params={"region": "460106"}).json()["items"][:5]]
    path = f"/v1/disputes/{dispute['id']}/ruling"
    answers = at_once(
        [
            lambda unit=unit: http.post(path, json={"lead": unit, "scope": "case", "reason": "裁定"})  # type: ignore[misc]
            for unit in units
        ]
    )
    assert statuses(answers) == {200: 1, 409: len(units) - 1}
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert http.get(f"/v1/work-orders/{order['id']}").json()["lead"] == won["lead"]
