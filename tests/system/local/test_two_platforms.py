"""`make up` as one platform of several: every process has directory and keys, and the gateway lets the other one in."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bench.stack import TOKEN, free_port, running
from tests.integration.federation.towns import Atlas

EAST, WEST = "460100", "460200"


class Town:
    """One platform as its people use it."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30, trust_env=False
        )

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(path, params=params).raise_for_status().json()

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()

    def hand_over(self, region: str) -> str:
        """A citizen tells of the other city; a person reviews the label when it waits for one. The appeal's id."""
        words = "马路上的路灯坏了三天，晚上很黑，请派人来修。"
        posted = self.post("/v1/appeals", channel="web", text=words, location={"region_code": region})
        self.dispatched(posted["id"])
        return str(posted["id"])

    def dispatched(self, appeal_id: str) -> str:
        def order() -> Any:
            case = self.get(f"/v1/appeals/{appeal_id}")
            if not case["work_orders"]:
                return None
            found = self.get(f"/v1/work-orders/{case['work_orders'][0]['id']}")
            if found["status"] != "pending":
                return found["id"]
            self.post(f"/v1/reviews/{appeal_id}", matter=case["labels"]["matter"]["code"])
            return None

        return str(until(order, "the order"))

    def handoff(self, appeal_id: str) -> dict[str, Any]:
        return dict(self.get(f"/v1/appeals/{appeal_id}")["handoff"] or {})

    def arrived(self, handoff_id: str) -> str | None:
        for item in self.get("/v1/appeals", channel="platform")["items"]:
            if self.handoff(item["id"]).get("id") == handoff_id:
                return str(item["id"])
        return None


def until(found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come")


def there_and_back(sender: Town, receiver: Town, region: str) -> None:
    """A case is handed over, answered there, and the answer is read here."""
    appeal_id = sender.hand_over(region)
    until(lambda: sender.handoff(appeal_id).get("state") == "accepted", "the acceptance")
    handoff_id = sender.handoff(appeal_id)["id"]
    case = until(lambda: receiver.arrived(handoff_id), "the case")
    order = receiver.dispatched(case)
    receiver.post(f"/v1/work-orders/{order}/accept")
    receiver.post(f"/v1/work-orders/{order}/complete", result="路灯已修好", solved=True)
    until(lambda: sender.handoff(appeal_id).get("state") == "completed", "the answer")
    assert sender.handoff(appeal_id)["result"] == "路灯已修好"


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_stack_on_kafka_and_an_embedded_one_hand_cases_to_each_other(tmp_path: Path) -> None:
    ports = {EAST: free_port(), WEST: free_port()}
    urls = {code: f"http://127.0.0.1:{port}" for code, port in ports.items()}
    agreement = {"platforms": [EAST, WEST], "until": "2030-12-31"}
    atlas = Atlas(tmp_path, {EAST: (2, None), WEST: (2, None)}, [agreement], urls=urls)

    def variables(code: str) -> dict[str, str]:
        keys = str(atlas.key_dir(code))
        return {"SUSHU_PLATFORM": code, "SUSHU_PLATFORMS": str(atlas.path), "SUSHU_KEY_DIR": keys}

    (tmp_path / "west").mkdir()
    (tmp_path / "east").mkdir()
    with (
        running("embedded", tmp_path / "west", ports[WEST], **variables(WEST)) as west,
        running("kafka", tmp_path / "east", ports[EAST], **variables(EAST)) as east,
    ):
        towns = {EAST: Town(east.url), WEST: Town(west.url)}
        there_and_back(towns[EAST], towns[WEST], "460204")
        there_and_back(towns[WEST], towns[EAST], "460106")
        huge = atlas.signed(WEST, EAST, "POST", "/v1/handoffs", body := b" " * 10_000_000)
        answer = httpx.post(f"{east.url}/v1/handoffs", content=body, headers=huge, trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), "told by intake, which audits it"
        entries = towns[EAST].get("/ops/intake/audit", limit=50)["items"]
        assert any(entry["action"] == "peer_call_refused" and entry["reason"] == "too_large" for entry in entries)
