"""Appeals become labels, once, with reasons; persons correct them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from services.classify.corrections import write_corrections
from services.classify.knowledge import Library
from shared.events.catalog import appeals
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.classify.sayings import LAMP, LEAK, VAGUE, appeal, json_of, label, labels, receive


async def test_an_appeal_gets_its_matter_with_evidence_and_tags(hub: Harness) -> None:
    fact = await label(hub, LAMP)
    after = fact.data.after
    assert fact.type == "label.classified"
    assert fact.sequence == 1
    assert after.matter.code == "02010201"
    assert after.matter.path == ["交通出行", "道路设施", "照明信号", "路灯不亮"]
    assert len(after.candidates) == 5
    assert after.matter.evidence
    assert all(word in LAMP for word in after.matter.evidence)
    assert {tag.code for tag in after.tags} >= {"time.night"}
    assert after.needs_review is False
    assert after.matter.evidence[0] in fact.data.reason
    assert "达到自动派单门槛" in fact.data.reason
    assert after.degraded is False
    assert after.catalogue_version == "1"
    assert after.region_code == "460106"


async def test_a_danger_is_urgent_and_says_why(hub: Harness) -> None:
    fact = await label(hub, LEAK)
    assert fact.data.after.handling_class == "urgent"
    assert fact.data.after.safety_words
    assert "安全词" in fact.data.reason


async def test_a_danger_that_is_over_is_not_urgent_although_the_model_knows_the_matter(hub: Harness) -> None:
    fact = await label(hub, "厨房燃气泄漏已经修好了，谢谢")
    assert (fact.data.after.matter.code, fact.data.after.handling_class) == ("03030101", "livelihood")
    assert fact.data.after.needs_review
    assert "不按紧急处置" in fact.data.reason


async def test_the_eleventh_appeal_of_a_reporter_within_a_day_is_shown_to_a_person_as_such(hub: Harness) -> None:
    reporter = appeals.Reporter(pseudonym=uuid7())
    said = [await receive(hub, f"{VAGUE}，第{n}次说", reporter=reporter) for n in range(12)]
    await hub.settle()
    items = (await hub.http.get("/v1/reviews?limit=200", headers=hub.admin)).json()["items"]
    reasons = {item["appeal_id"]: item["reason"] for item in items}
    assert sorted(reasons[appeal_id] for appeal_id in said) == ["low_confidence"] * 10 + ["often"] * 2


async def test_a_danger_in_a_text_about_something_else_is_urgent_and_reviewed(hub: Harness) -> None:
    after = (await label(hub, "小区停车费乱收费，收费员多收钱，旁边的路灯杆还漏电了")).data.after
    assert after.handling_class == "urgent"
    assert after.needs_review is True


async def test_a_past_danger_is_not_urgent(hub: Harness) -> None:
    after = (await label(hub, "去年触电的赔偿款什么时候给，找了物业好几次都不理")).data.after
    assert after.handling_class != "urgent"


async def test_an_unclear_text_goes_to_a_person(hub: Harness) -> None:
    fact = await label(hub, VAGUE)
    assert fact.data.after.needs_review is True
    assert "把握度" in fact.data.reason


async def test_the_kind_given_by_the_channel_wins_over_the_words(hub: Harness) -> None:
    assert (await label(hub, LAMP, kind="suggestion")).data.after.kind == "suggestion"
    assert (await label(hub, LAMP, kind="nonsense")).data.after.kind == "report"


async def test_second_delivery_changes_nothing(hub: Harness) -> None:
    said = appeal(LAMP, received_at=hub.clock.now())
    for event_id in (None, None):  # not even under another event id
        await hub.emit(appeals.AppealReceived(actor="citizen", after=said), key=said.id, sequence=1, event_id=event_id)
        await hub.settle()
    assert len(await labels(hub, said.id)) == 1


async def test_a_later_event_that_comes_first_labels_the_appeal_once(hub: Harness) -> None:
    said = appeal(VAGUE, received_at=hub.clock.now())
    gone = appeal(VAGUE, received_at=said.received_at, id=said.id, status="withdrawn", reporter=said.reporter)
    await hub.emit(appeals.AppealWithdrawn(actor="citizen", after=gone), key=said.id, sequence=2)
    await hub.settle()
    await hub.emit(appeals.AppealReceived(actor="citizen", after=said), key=said.id, sequence=1)
    await hub.settle()
    assert len(await labels(hub, said.id)) == 1
    assert said.id not in await queue(hub)


async def test_a_withdrawn_appeal_leaves_the_review_queue(hub: Harness) -> None:
    said = appeal(VAGUE, received_at=hub.clock.now())
    await hub.emit(appeals.AppealReceived(actor="citizen", after=said), key=said.id, sequence=1)
    await hub.settle()
    assert said.id in await queue(hub)
    gone = appeal(VAGUE, received_at=said.received_at, id=said.id, status="withdrawn", reporter=said.reporter)
    await hub.emit(appeals.AppealWithdrawn(actor="citizen", after=gone), key=said.id, sequence=2)
    await hub.settle()
    assert said.id not in await queue(hub)


async def test_a_text_that_is_tried_is_compared_with_what_its_reporter_said(hub: Harness) -> None:
    reporter = appeals.Reporter(pseudonym=uuid7())
    first = await label(hub, LAMP, reporter=reporter)
    for pseudonym, expected in ((reporter.pseudonym, first.key), (uuid7(), None)):
        body = {"text": LAMP + "！", "reporter": {"pseudonym": pseudonym}}
        answer = await hub.http.post("/v1/classify", json=body, headers=hub.admin)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["repeat_of"] or {}).get("appeal_id") == expected


async def test_the_same_reporter_saying_the_same_again_is_a_repeat(hub: Harness) -> None:
    reporter = appeals.Reporter(pseudonym=uuid7())
    first = await receive(hub, LAMP, reporter=reporter)
    second = await receive(hub, LAMP + "！", reporter=reporter)
    other = await receive(hub, LAMP)
    await hub.settle()
    link = (await labels(hub, second))[0].data.after.repeat_of
    assert link.appeal_id == first
    assert link.score >= 0.95
    assert (await labels(hub, first))[0].data.after.repeat_of is None
    assert (await labels(hub, other))[0].data.after.repeat_of is None


async def test_a_repeat_is_found_across_batches_but_not_after_thirty_days(hub: Harness) -> None:
    reporter = appeals.Reporter(pseudonym=uuid7())
    now = hub.clock.now()
    await label(hub, VAGUE, reporter=reporter, received_at=now - timedelta(days=31))
    assert (await label(hub, VAGUE, reporter=reporter, received_at=now)).data.after.repeat_of is None
    assert (await label(hub, VAGUE, reporter=reporter, received_at=now + timedelta(days=1))).data.after.repeat_of
    assert (await label(hub, LAMP, reporter=reporter, received_at=now)).data.after.repeat_of is None


async def test_other_citizens_about_one_place_are_suggested_as_the_same_event(hub: Harness) -> None:
    flood = "滨江西里积水很深，车子开不过去，行人也没法走，请尽快派人来抽水"
    first = await label(hub, flood)
    anonymous = appeals.Reporter(pseudonym=None)
    second = await label(hub, f"你好，{flood}", reporter=anonymous)
    assert second.data.after.same_event.appeal_id == first.key
    assert second.data.after.same_event.score >= 0.8
    assert second.data.after.repeat_of is None
    assert first.data.after.same_event is None
    elsewhere = flood.replace("滨江西里", "望海南路")
    assert (await label(hub, elsewhere)).data.after.same_event is None
    for token, expected in ((hub.admin, first.key), (hub.token("seat", regions=["460107"]), None)):
        answer = await hub.http.post("/v1/classify", json={"text": flood, "region_code": "460106"}, headers=token)
        assert (answer.json()["same_event"] or {}).get("appeal_id") == expected, answer.text


async def test_a_withdrawn_appeal_is_no_event_to_join(hub: Harness) -> None:
    text = "东湖三期门口的井盖不见了，晚上很危险，请马上处理"
    said = appeal(text, received_at=hub.clock.now())
    gone = appeal(text, received_at=said.received_at, id=said.id, status="withdrawn")
    await hub.emit(appeals.AppealReceived(actor="citizen", after=said), key=said.id, sequence=1)
    await hub.settle()
    await hub.emit(appeals.AppealWithdrawn(actor="citizen", after=gone), key=said.id, sequence=2)
    await hub.settle()
    assert (await label(hub, text)).data.after.same_event is None


async def test_a_person_corrects_a_label(hub: Harness) -> None:
    appeal_id = await receive(hub, VAGUE)
    await hub.settle()
    seat = hub.token("seat", sub="wang")
    body = {"matter": "13010201", "tags": ["nature.attitude"], "note": "来电人姓名王小明，电话13800138000"}
    answer = await hub.http.post(f"/v1/reviews/{appeal_id}", json=body, headers=seat)
    assert answer.status_code == 200, answer.text
    assert answer.json()["matter"]["code"] == "13010201"
    await hub.settle()
    classified, reviewed = await labels(hub, appeal_id)
    assert (reviewed.type, reviewed.sequence) == ("label.reviewed", 2)
    after = reviewed.data.after
    assert reviewed.data.before_matter == classified.data.after.matter.code
    assert (after.matter.probability, after.needs_review, after.reviewed_by) == (1.0, False, "user:wang")
    assert [(tag.code, tag.source) for tag in after.tags] == [("nature.attitude", "human")]
    assert "13800138000" not in str(json_of(reviewed.data))
    assert appeal_id not in await queue(hub)
    quality = (await hub.http.get("/v1/classify/quality", headers=hub.admin)).json()
    assert sum(row["reviewed"] for row in quality["models"]) >= 1
    assert {"accuracy", "coverage", "calibration", "mean_probability"} <= quality["models"][0].keys()
    assert quality["matters"][0]["reviewed"] >= 1
    assert {"month", "accuracy", "ece", "coverage", "drift", "models"} <= quality["months"][-1].keys()


async def test_urgent_by_words_stays_urgent_until_a_person_lowers_it(hub: Harness) -> None:
    appeal_id = await receive(hub, LEAK)
    await hub.settle()
    path = f"/v1/reviews/{appeal_id}"
    kept = await hub.http.post(path, json={"matter": "03030102"}, headers=hub.admin)
    assert kept.json()["class"] == "urgent"
    lowered = await hub.http.post(path, json={"matter": "03030102", "class": "general"}, headers=hub.admin)
    assert lowered.json()["class"] == "general"
    await hub.settle()
    assert [fact.sequence for fact in await labels(hub, appeal_id)] == [1, 2, 3]


async def test_a_review_refuses_what_is_not_in_force_and_what_is_not_yours(hub: Harness) -> None:
    appeal_id = await receive(hub, VAGUE)
    await hub.settle()
    path = f"/v1/reviews/{appeal_id}"
    wrong = await hub.http.post(path, json={"matter": "99999999"}, headers=hub.admin)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/matter")
    tag = await hub.http.post(path, json={"matter": "13010201", "tags": ["x"]}, headers=hub.admin)
    assert (tag.status_code, tag.json()["errors"][0]["pointer"]) == (422, "/tags/0")
    elsewhere = hub.token("seat", regions=["460200"])
    assert (await hub.http.post(path, json={"matter": "13010201"}, headers=elsewhere)).status_code == 404
    handler = hub.token("handler", units=["u"])
    assert (await hub.http.post(path, json={"matter": "13010201"}, headers=handler)).status_code == 403
    unknown = await hub.http.post(f"/v1/reviews/{uuid7()}", json={"matter": "13010201"}, headers=hub.admin)
    assert unknown.status_code == 404
    assert len(await labels(hub, appeal_id)) == 1


async def test_a_token_for_a_county_written_with_twelve_digits_sees_that_county_only(hub: Harness) -> None:
    here = await receive(hub, VAGUE, place=appeals.Place(region_code="460106000000"))
    elsewhere = await receive(hub, VAGUE, place=appeals.Place(region_code="460200"))
    await hub.settle()
    seat = hub.token("seat", regions=["460106000000"])

    answer = await hub.http.get("/v1/reviews", params={"limit": 200}, headers=seat)

    seen = {item["appeal_id"] for item in answer.json()["items"]}
    assert here in seen
    assert elsewhere not in seen


async def test_the_queue_pages_in_the_order_of_arrival_and_by_region(hub: Harness) -> None:
    mine = [await receive(hub, VAGUE, place=appeals.Place(region_code="460108001")) for _ in range(3)]
    await hub.settle()
    seat = hub.token("seat", regions=["460108"])
    first = (await hub.http.get("/v1/reviews?limit=2", headers=seat)).json()
    assert [item["appeal_id"] for item in first["items"]] == mine[:2]
    assert len(first["items"][0]["candidates"]) == 5
    rest = (await hub.http.get(f"/v1/reviews?limit=2&after={first['next']}", headers=seat)).json()
    assert [item["appeal_id"] for item in rest["items"]] == mine[2:]
    assert rest["next"] is None
    assert (await hub.http.get("/v1/reviews?class=urgent", headers=seat)).json()["items"] == []


async def test_reconcile_finds_no_label_out_of_step(hub: Harness) -> None:
    answer = await hub.http.get("/ops/classify/reconcile", headers=hub.admin)
    assert answer.status_code == 200
    assert "labels_out_of_step" in answer.text


async def queue(hub: Harness) -> set[str]:
    found: set[str] = set()
    after = ""
    while True:
        page = (await hub.http.get(f"/v1/reviews?limit=200{after}", headers=hub.admin)).json()
        found |= {item["appeal_id"] for item in page["items"]}
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def test_corrections_become_training_texts_without_personal_data(hub: Harness, tmp_path: Path) -> None:
    appeal_id = await receive(hub, VAGUE)
    await hub.settle()
    for matter, tags in (("13010201", []), ("04010101", ["time.night"])):
        body = {"matter": matter, "tags": tags}
        assert (await hub.http.post(f"/v1/reviews/{appeal_id}", json=body, headers=hub.admin)).status_code == 200
    out = tmp_path / "corrections.jsonl"
    library = Library(hub.settings.data_dir, ())
    count = await write_corrections(hub.runners["classify"].service.database, out, library)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == count
    assert {"text": VAGUE, "label": "04010101", "date": "2026-11-02", "tags": ["time.night"]} in rows


async def test_many_appeals_of_one_reporter_in_a_day_are_shown_to_a_person_and_handled(hub: Harness) -> None:
    reporter = appeals.Reporter(pseudonym=uuid7())
    for _ in range(10):
        await receive(hub, LAMP, reporter=reporter)
        await hub.settle()
    last = await receive(hub, LAMP, reporter=reporter)
    await hub.settle()
    (fact,) = await labels(hub, last)
    assert fact.data.after.needs_review
    assert "恶意由人决定" in fact.data.reason
    assert fact.data.after.matter.code == "02010201"
