"""A new model is activated when it beat the present one on what persons confirmed lately; going back is one call."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from services.classify.grammar import Grammar
from services.classify.models.folder import load, save
from services.classify.models.linear import LinearClassifier
from services.classify.models.schooling import Schooling
from shared.city import CITIES
from shared.testing.harness import Harness
from tests.integration.classify.sayings import receive
from tests.integration.classify.test_keeping import models

SENTENCES = list(Grammar.read(CITIES / "demo" / "grammar.yaml").sentences(2, seed=77))[::9][:60]


def put_model(hub: Harness, name: str, *, turned: int = 0, learnt: tuple[str, ...] = ()) -> str:
    """The demo model under another name; `turned`: it says of everything what the demo model says of another matter;
    `learnt`: texts that it was fitted to."""
    (demo,) = [folder for folder in models(hub).iterdir() if folder.name.startswith("demo-")]
    model, _ = load(demo)
    changed = LinearClassifier(
        name,
        model.labels,
        model.vocabulary,
        np.ascontiguousarray(np.roll(model.weights, turned, axis=1)),
        np.roll(model.bias, turned),
        model.calibrator,
        schooling=Schooling.of(learnt, (), np.empty(0, dtype=np.int64)),
    )
    save(models(hub) / name, changed, training={"texts": 1}, metrics={}, card="# card")
    return f"models/{name}"


async def register(hub: Harness, name: str, **changes: Any) -> dict[str, Any]:
    path = put_model(hub, name, **changes) if changes or not (models(hub) / name).exists() else f"models/{name}"
    answer = await hub.http.post("/v1/models", json={"path": path}, headers=hub.admin)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def activate(hub: Harness, name: str, **body: Any) -> Any:
    return await hub.http.post(f"/v1/models/{name}/activate", json=body, headers=hub.admin)


async def confirm(hub: Harness, sentences: list[Any]) -> None:
    ids = [await receive(hub, one.text) for one in sentences]
    await hub.settle()
    await asyncio.gather(
        *(
            hub.http.post(f"/v1/reviews/{appeal_id}", json={"matter": one.code}, headers=hub.admin)
            for appeal_id, one in zip(ids, sentences, strict=True)
        )
    )


async def test_only_a_better_model_is_activated_or_one_for_a_reason_and_going_back_is_one_call(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        listed = (await hub.http.get("/v1/models", headers=hub.admin)).json()
        demo = listed["in_use"]
        early = await register(hub, "early")
        assert early["shadow"]["verdict"] == "too_few_cases"
        assert (early["shadow"]["cases"], early["shadow"]["accuracy"]) == (0, None)

        await confirm(hub, SENTENCES)
        worse = await register(hub, "worse", turned=7)
        shadow = worse["shadow"]
        assert (shadow["verdict"], shadow["present"], shadow["cases"]) == ("not_better", demo, len(SENTENCES))
        assert shadow["accuracy"] < shadow["present_accuracy"]
        assert shadow["interval"][0] <= shadow["difference"] < shadow["interval"][1] < 0
        refused = await activate(hub, "worse")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_better")
        assert refused.json()["shadow"]["present_accuracy"] == shadow["present_accuracy"]
        assert "force" in refused.json()["detail"]
        assert (await activate(hub, "worse", force=True)).status_code == 422, "without a reason"
        assert (await activate(hub, "early")).json()["code"] == "not_better", "as good is not better"
        again = await register(hub, "early")
        assert again["shadow"]["difference"] == 0.0, "registering again compares again"

        assert (await activate(hub, "worse", force=True, reason="演练：回退")).status_code == 200
        entry = (await hub.query("SELECT * FROM classify.audit WHERE action = 'model.activated'"))[-1]
        assert (entry["subject"], entry["reason"]) == ("worse", "演练：回退")
        assert '"forced": true' in str(entry["detail"]) or entry["detail"]["forced"] is True
        better = await activate(hub, "early")
        assert (better.status_code, better.json()["shadow"]["verdict"]) == (200, "better")
        assert better.json()["shadow"]["present"] == "worse"

        for expected in ("worse", demo):
            back = await hub.http.post("/v1/models/rollback", json={"reason": "回退"}, headers=hub.admin)
            assert (back.status_code, back.json()["version"]) == (200, expected)
            assert (await hub.http.get("/v1/models", headers=hub.admin)).json()["in_use"] == expected
        nothing = await hub.http.post("/v1/models/rollback", headers=hub.admin)
        assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_before")
        assert (await hub.http.post("/v1/models/rollback", headers=hub.token("seat"))).status_code == 403

        learnt = await register(hub, "learnt", turned=7, learnt=tuple(one.text for one in SENTENCES[:20]))
        assert (learnt["shadow"]["cases"], learnt["shadow"]["learnt_cases_left_out"]) == (len(SENTENCES) - 20, 20)
        assert learnt["shadow"]["verdict"] == "too_few_cases"
        assert (await activate(hub, "learnt")).status_code == 200
        await hub.http.post("/v1/models/rules/activate", headers=hub.admin)
        back = await hub.http.post("/v1/models/rollback", headers=hub.admin)
        assert back.json()["version"] == "learnt", "from no model to the last one"
