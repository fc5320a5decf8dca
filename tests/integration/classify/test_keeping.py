"""Those who keep catalogue, tags and models: what they import, see, switch on, and are refused."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from services.classify.knowledge import Library
from services.classify.models.folder import load, save
from services.classify.models.linear import LinearClassifier
from shared.city import CITIES
from shared.clock import rfc3339
from shared.testing.harness import Harness
from tests.integration.classify.sayings import LAMP, VAGUE, label, receive

CSV = (CITIES / "demo" / "catalogue.csv").read_text(encoding="utf-8")


def models(hub: Harness) -> Path:
    return hub.settings.data_dir / "models"


def put_model(hub: Harness, name: str, labels: tuple[str, ...] | None = None) -> str:
    """A small copy of the demo model under another name; returns its path relative to the data folder."""
    (demo,) = [folder for folder in models(hub).iterdir() if folder.name.startswith("demo-")]
    model, _ = load(demo)
    labels = labels or model.labels
    renamed = LinearClassifier(
        name,
        labels,
        model.vocabulary,
        np.ascontiguousarray(model.weights[:, : len(labels)]),
        model.bias[: len(labels)],
        model.calibrator.restrict(range(len(labels))),
    )
    save(models(hub) / name, renamed, training={"texts": 1}, metrics={}, card="# card")
    return f"models/{name}"


async def test_a_text_can_be_tried_without_being_stored(hub: Harness) -> None:
    seat = hub.token("seat")
    answer = await hub.http.post("/v1/classify", json={"text": LAMP, "region_code": "460106"}, headers=seat)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["matter"]["code"] == "02010201"
    assert set(found["matter"]) == {"code", "path", "probability"}
    assert len(found["candidates"]) == 5
    assert found["region"] == "460106"
    assert found["needs_review"] is False
    assert {"code", "family", "confidence", "source", "evidence"} == set(found["tags"][0])
    assert {"class", "kind", "model", "degraded"} <= set(found)


@pytest.mark.parametrize("text", ["", " ", "a", "\u3000", "😀" * 50_000, "路灯不亮" * 25_000])
async def test_any_text_can_be_tried(hub: Harness, text: str) -> None:
    answer = await hub.http.post("/v1/classify", json={"text": text}, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    too_long = await hub.http.post("/v1/classify", json={"text": "长" * 100_001}, headers=hub.admin)
    assert too_long.status_code == 422


async def test_matters_are_searched_and_paged(hub: Harness) -> None:
    found = (await hub.http.get("/v1/matters", params={"q": "欠薪"}, headers=hub.admin)).json()
    assert found["items"][0]["code"] == "07010101"
    page = (await hub.http.get("/v1/matters?limit=50", headers=hub.admin)).json()
    rest = (await hub.http.get(f"/v1/matters?limit=50&after={page['next']}", headers=hub.admin)).json()
    assert len(page["items"]) + len(rest["items"]) == 90
    assert not {item["code"] for item in page["items"]} & {item["code"] for item in rest["items"]}
    assert (await hub.http.get("/v1/matters")).status_code == 401


async def test_a_new_tag_word_is_heard_at_once(hub: Harness) -> None:
    body = {"code": "custom.dragonboat", "name": "龙舟", "family": "spacetime", "words": ["龙舟", "赛龙舟"]}
    made = await hub.http.post("/v1/tags", json=body, headers=hub.token("supervisor"))
    assert (made.status_code, made.json()["version"]) == (201, 1)
    after = (await label(hub, "河边划龙舟的人太多，路都堵了")).data.after
    assert ("custom.dragonboat", "龙舟") in {(tag.code, tag.name) for tag in after.tags}
    listed = (await hub.http.get("/v1/tags?limit=200", headers=hub.admin)).json()["items"]
    assert body["code"] in {tag["code"] for tag in listed}
    refused = await hub.http.post("/v1/tags", json={**body, "family": "colour"}, headers=hub.admin)
    assert refused.status_code == 422
    assert (await hub.http.post("/v1/tags", json=body, headers=hub.token("seat"))).status_code == 403


async def test_an_idempotency_key_gives_the_first_answer(hub: Harness) -> None:
    body = {"code": "custom.once", "name": "一次", "family": "nature", "words": ["仅此一次"]}
    headers = {**hub.admin, "Idempotency-Key": "tag-1"}
    first = await hub.http.post("/v1/tags", json=body, headers=headers)
    again = await hub.http.post("/v1/tags", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = await hub.http.post("/v1/tags", json={**body, "name": "两次"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_a_reviewers_tag_proposes_the_words_that_decided(hub: Harness) -> None:
    appeal_id = await receive(hub, LAMP)
    await hub.settle()
    body = {"matter": "02010201", "tags": ["nature.safety"]}
    await hub.http.post(f"/v1/reviews/{appeal_id}", json=body, headers=hub.admin)
    proposals = (await hub.http.get("/v1/tags/proposals", headers=hub.admin)).json()["items"]
    proposal = next(one for one in proposals if one["tag"] == "nature.safety")
    assert proposal["word"] in LAMP
    path = f"/v1/tags/proposals/{proposal['id']}"
    accepted = await hub.http.post(f"{path}/accept", headers=hub.admin)
    assert accepted.json()["status"] == "accepted"
    assert (await hub.http.post(f"{path}/accept", headers=hub.admin)).status_code == 200
    assert (await hub.http.post(f"{path}/reject", headers=hub.admin)).status_code == 409
    after = (await label(hub, LAMP)).data.after
    assert "nature.safety" in {tag.code for tag in after.tags}
    assert (await hub.http.post("/v1/tags/proposals/none/accept", headers=hub.admin)).status_code == 404


async def test_a_model_is_registered_activated_and_labels_name_it(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        path = put_model(hub, "spring-1")
        made = await hub.http.post("/v1/models", json={"path": path}, headers=hub.admin)
        assert made.status_code == 201, made.text
        assert made.json()["active"] is False
        again = await hub.http.post("/v1/models", json={"path": path}, headers=hub.admin)
        assert again.status_code == 200
        assert (await label(hub, LAMP)).data.after.model.startswith("demo-")
        switched = await hub.http.post("/v1/models/spring-1/activate", headers=hub.admin)
        assert switched.json()["active"] is True
        assert (await label(hub, LAMP)).data.after.model == "spring-1"
        listed = (await hub.http.get("/v1/models", headers=hub.admin)).json()
        assert listed["in_use"] == "spring-1"
        assert [item["version"] for item in listed["items"] if item["active"]] == ["spring-1"]


async def test_without_a_model_the_rules_answer_degraded(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        await hub.http.post("/v1/models/rules/activate", headers=hub.admin)
        fact = await label(hub, LAMP)
        assert fact.data.after.matter.code == "02010201"
        assert (fact.data.after.model, fact.data.after.degraded, fact.data.after.needs_review) == ("rules", True, True)
        assert (await hub.http.get("/v1/models", headers=hub.admin)).json()["trouble"] == "no model is active"


async def test_a_lost_model_folder_degrades_and_blocks_nothing(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        shutil.rmtree(models(hub))
        restarted = Library(hub.settings.data_dir, ["model"])
        async with hub.runners["classify"].service.database.transaction() as uow:
            knowledge = await restarted.present(uow.pg, hub.clock.now())
        assert "cannot be read" in str(knowledge.trouble)
        (answer,) = knowledge.chain.classify([LAMP])
        assert (answer.version, answer.degraded, answer.candidates[0].code) == ("rules", True, "02010201")


async def test_a_model_is_refused_for_its_place_its_labels_and_its_damage(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        outside = ["../x", "/etc", ".", "", "models/../..", "models/nothing", "a\u0000b", "x" * 900]
        for path in outside:
            answer = await hub.http.post("/v1/models", json={"path": path}, headers=hub.admin)
            assert answer.status_code == 422, path
        (models(hub) / "way-out").symlink_to("/usr")
        assert (await hub.http.post("/v1/models", json={"path": "models/way-out"}, headers=hub.admin)).json()["errors"]
        strange = put_model(hub, "strange", ("公安局", "交警支队"))
        answer = await hub.http.post("/v1/models", json={"path": strange}, headers=hub.admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "labels_are_no_matters")
        good = put_model(hub, "good")
        assert (await hub.http.post("/v1/models", json={"path": good}, headers=hub.admin)).status_code == 201
        folder = hub.settings.data_dir / good
        weights = bytearray((folder / "weights.npz").read_bytes())
        weights[-200] ^= 1
        (folder / "weights.npz").write_bytes(weights)
        damaged = await hub.http.post("/v1/models/good/activate", headers=hub.admin)
        assert (damaged.status_code, damaged.json()["code"]) == (422, "invalid_model")
        put_model(hub, "good")
        body = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        (folder / "model.json").write_text(json.dumps({**body, "training": {"texts": 2}}), encoding="utf-8")
        changed = await hub.http.post("/v1/models/good/activate", headers=hub.admin)
        assert (changed.status_code, changed.json()["code"]) == (409, "model_changed")
        assert (await hub.http.post("/v1/models/none/activate", headers=hub.admin)).status_code == 404
        seat = hub.token("seat")
        assert (await hub.http.post("/v1/models", json={"path": good}, headers=seat)).status_code == 403
        assert (await label(hub, LAMP)).data.after.degraded is False


async def test_a_catalogue_is_imported_shown_and_takes_effect_on_its_day(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        await label(hub, LAMP)
        lines = [line for line in CSV.splitlines() if not line.startswith("02010201")]
        lines.append(
            "02010299,交通出行,道路设施,照明信号,路灯与景观灯,livelihood,report,,0,1,路灯不亮|路灯坏了,路灯不亮没人修"
        )
        csv = {**hub.admin, "Content-Type": "text/csv"}
        made = await hub.http.post("/v1/catalogue/versions", content="\n".join(lines).encode(), headers=csv)
        assert made.status_code == 201, made.text
        shown = made.json()
        assert shown["diff"]["added"] == ["02010299"]
        assert shown["diff"]["removed"] == ["02010201"]
        assert shown["impact"]["recent_labels_on_removed"] == 1
        assert shown["impact"]["matters_the_model_does_not_know"] == ["02010299"]
        assert (await label(hub, LAMP)).data.after.matter.code == "02010201"
        tomorrow = hub.clock.now() + timedelta(days=1)
        path = f"/v1/catalogue/versions/{shown['version']}/activate"
        past = await hub.http.post(
            path, json={"effective_from": rfc3339(tomorrow - timedelta(days=2))}, headers=hub.admin
        )
        assert past.status_code == 422
        done = await hub.http.post(path, json={"effective_from": rfc3339(tomorrow)}, headers=hub.admin)
        assert done.status_code == 200, done.text
        assert (await label(hub, LAMP)).data.after.catalogue_version == "1"
        await hub.advance(86_400)
        after = (await label(hub, LAMP)).data.after
        assert after.catalogue_version == shown["version"]
        assert "02010201" not in {candidate.code for candidate in after.candidates}
        versions = (await hub.http.get("/v1/catalogue/versions", headers=hub.admin)).json()["items"]
        assert [(item["version"], item["in_force"]) for item in versions] == [("2", True), ("1", False)]


async def test_the_catalogue_stays_in_force_when_the_clock_is_set_back(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        hub.clock.set(hub.clock.now() - timedelta(hours=1))
        await hub.query("UPDATE classify.knowledge SET stamp = stamp + 1")  # read anew, as after a restart
        assert (await label(hub, LAMP)).data.after.catalogue_version == "1"


async def test_a_wrong_catalogue_is_refused_with_its_lines(hub: Harness) -> None:
    csv = {**hub.admin, "Content-Type": "text/csv"}
    wrong = CSV.replace("general,complaint", "slow,complaint", 2)
    answer = await hub.http.post("/v1/catalogue/versions", content=wrong.encode(), headers=csv)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_catalogue")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/2/class", "/3/class"]
    assert (await hub.http.post("/v1/catalogue/versions", content=b"\xff\xfe", headers=csv)).status_code == 422
    assert (await hub.http.post("/v1/catalogue/versions", content=b"", headers=csv)).status_code == 422
    for version in ("99", "x", "-1", "9" * 30):
        path = f"/v1/catalogue/versions/{version}/activate"
        assert (await hub.http.post(path, headers=hub.admin)).status_code == 404
    assert (await hub.http.post("/v1/catalogue/versions", content=CSV, headers=hub.token("seat"))).status_code == 403


async def test_setup_again_changes_nothing(hub: Harness) -> None:
    before = await hub.query(
        "SELECT (SELECT count(*) FROM classify.catalogue_versions), (SELECT stamp FROM classify.knowledge)"
    )
    await hub.runners["classify"].service.setup()
    after = await hub.query(
        "SELECT (SELECT count(*) FROM classify.catalogue_versions), (SELECT stamp FROM classify.knowledge)"
    )
    assert before == after


async def test_setup_makes_a_lost_demo_model_anew(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        (before,) = await hub.query("SELECT version, digest FROM classify.models")
        shutil.rmtree(models(hub))
        await hub.runners["classify"].service.setup()
        (after,) = await hub.query("SELECT version, digest FROM classify.models")
        assert before == after
        assert load(models(hub) / before["version"])[1].digest == before["digest"]


async def test_setup_leaves_a_citys_own_choice_alone(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        await hub.http.post("/v1/models", json={"path": put_model(hub, "own")}, headers=hub.admin)
        await hub.http.post("/v1/models/own/activate", headers=hub.admin)
        await hub.runners["classify"].service.setup()
        assert (await hub.http.get("/v1/models", headers=hub.admin)).json()["in_use"] == "own"


async def test_low_confidence_does_not_block_the_queue_of_others(hub: Harness) -> None:
    ids = [await receive(hub, text) for text in (VAGUE, LAMP, VAGUE)]
    await hub.settle()
    for appeal_id in ids:
        assert len(await hub.events("classify.labels.v1", key=appeal_id)) == 1
