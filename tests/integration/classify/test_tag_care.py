"""Proposals about tags: made from real labels, accepted, heard at once by every process, undone."""

from __future__ import annotations

from typing import Any

from shared.events.catalog.work_orders import WorkOrderDispatched
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.classify.sayings import label, receive
from tests.integration.intake.examples import order


async def tags_of(hub: Harness, text: str, **changes: Any) -> set[str]:
    return {tag.code for tag in (await label(hub, text, **changes)).data.after.tags}


async def put(hub: Harness, code: str, *words: str, **more: Any) -> None:
    body = {"code": code, "name": words[0], "family": "nature", "words": list(words)} | more
    made = await hub.http.post("/v1/tags", json=body, headers=hub.admin)
    assert made.status_code == 201, made.text


async def decide(hub: Harness, proposal: dict[str, Any], decision: str, **body: Any) -> dict[str, Any]:
    path = f"/v1/tags/proposals/{proposal['id']}/{decision}"
    answer = await hub.http.post(path, headers=hub.admin, json=body or None)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_month_of_labels_makes_proposals_that_persons_accept_and_undo(hub: Harness) -> None:
    await put(hub, "custom.wages", "欠薪", "不发工资")
    await put(hub, "custom.pay", "拖欠工资", "欠薪")
    for n in range(30):
        await receive(hub, f"{n}栋楼下的路灯不亮")  # what is new is so beside an earlier time
    await hub.settle()
    hub.clock.advance(40 * 86_400)
    for n in range(12):
        await receive(hub, f"{n}号工地老板拖欠工资不发工资，工人都在等")
        await receive(hub, f"{n}栋楼顶在台风摩羯里掀翻了，{n}户进水")
    await hub.settle()
    made = await hub.http.post("/v1/tags/proposals", json={}, headers=hub.admin)
    assert made.status_code == 200, made.text
    assert made.json()["found"]["merge"] >= 1
    again = (await hub.http.post("/v1/tags/proposals", json={}, headers=hub.admin)).json()
    assert again["new"] == 0
    listed = (await hub.http.get("/v1/tags/proposals?limit=200", headers=hub.admin)).json()["items"]
    merge = next(
        one for one in listed if one["kind"] == "merge" and {one["tag"], one["word"]} == {"custom.wages", "custom.pay"}
    )
    assert merge["detail"]["appeals_with_both"] == 12
    phrase = next(one for one in listed if one["kind"] == "promote" and "摩羯" in one["word"])
    assert phrase["detail"]["appeals"] == 12
    assert len(phrase["examples"]) == 3

    # nothing has changed before a person accepts
    assert {"custom.wages", "custom.pay"} <= await tags_of(hub, "老板拖欠工资不发工资")
    await decide(hub, merge, "accept")
    gone = merge["word"]
    assert merge["tag"] in await tags_of(hub, "老板拖欠工资不发工资")
    assert gone not in await tags_of(hub, "老板拖欠工资不发工资")
    retired = (await hub.http.get("/v1/tags?state=retired", headers=hub.admin)).json()["items"]
    assert [(tag["code"], tag["merged_into"]) for tag in retired] == [(gone, merge["tag"])]
    assert (await decide(hub, merge, "undo"))["status"] == "open"
    assert {"custom.wages", "custom.pay"} <= await tags_of(hub, "老板拖欠工资不发工资")

    # a tag that was changed since cannot be put back blindly
    await decide(hub, merge, "accept")
    await put(hub, merge["tag"], "欠薪", "讨薪")
    refused = await hub.http.post(f"/v1/tags/proposals/{merge['id']}/undo", headers=hub.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "tag_changed")

    begins = "2026-11-01T00:00:00+08:00"
    named = {
        "code": "custom.storm",
        "name": "台风摩羯",
        "family": "spacetime",
        "valid_from": begins,
    }
    done = await decide(hub, phrase, "accept", **named)
    assert done["tags"][0]["valid_from"] == begins
    assert done["tags"][0]["valid_to"] is not None
    text = f"{phrase['word']}，窗户碎了"
    assert "custom.storm" in await tags_of(hub, text)
    await decide(hub, phrase, "undo")
    assert "custom.storm" not in await tags_of(hub, text)
    await decide(hub, phrase, "reject")
    refused = await hub.http.post(f"/v1/tags/proposals/{phrase['id']}/accept", headers=hub.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_decided")


async def test_a_tag_with_a_time_is_for_what_happened_in_it(hub: Harness) -> None:
    wrong = {"valid_from": "2026-07-02T00:00:00+08:00", "valid_to": "2026-07-01T00:00:00+08:00"}
    body = {"code": "custom.fair", "name": "展会", "family": "spacetime", "words": ["消博会"]}
    assert (await hub.http.post("/v1/tags", json=body | wrong, headers=hub.admin)).status_code == 422
    ended = {"valid_from": "2026-04-01T00:00:00+08:00", "valid_to": "2026-05-01T00:00:00+08:00"}
    await put(hub, "custom.fair", "消博会", **ended)
    assert "custom.fair" not in await tags_of(hub, "消博会门口堵车")


async def test_coverage_and_accuracy_are_told_by_unit(hub: Harness) -> None:
    appeal_id = await receive(hub, "半夜楼下烧烤摊太吵")
    dispatched = order(uuid7(), [appeal_id], hub.clock.now(), lead="460106-test")
    event = WorkOrderDispatched(actor="system:dispatch", cause="routing", after=dispatched)
    await hub.emit(event, key=dispatched.id, sequence=1)
    await hub.settle()
    body = {"matter": "02010201", "tags": ["time.night"]}
    await hub.http.post(f"/v1/reviews/{appeal_id}", json=body, headers=hub.admin)
    found = (await hub.http.get("/v1/tags/quality", headers=hub.admin)).json()["items"]
    (row,) = [one for one in found if one["unit"] == "460106-test"]
    assert (row["labels"], row["coverage"], row["reviewed"], row["recall"]) == (1, 1.0, 1, 1.0)
    assert row["precision"] <= 1.0
