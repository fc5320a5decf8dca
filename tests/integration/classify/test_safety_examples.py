"""A person's lowering of a safety word is remembered, and can be undone."""

from __future__ import annotations

from shared.testing.harness import Harness
from tests.integration.classify.sayings import label, receive

SAID = "三号院门口的音箱一放就喊着火，吵得睡不着"
LAMP = "02010201"


async def test_the_next_same_sentence_raises_no_alarm_until_the_example_is_undone(hub: Harness) -> None:
    first = await receive(hub, SAID)
    await hub.settle()
    queue = (await hub.http.get("/v1/reviews?limit=200", headers=hub.admin)).json()["items"]
    assert next(one for one in queue if one["appeal_id"] == first)["class"] == "urgent"
    body = {"matter": LAMP, "class": "general"}
    assert (await hub.http.post(f"/v1/reviews/{first}", json=body, headers=hub.admin)).status_code == 200
    after = (await label(hub, f"您好！{SAID}。请处理")).data.after
    assert (after.handling_class, after.needs_review, after.safety_words) != ("urgent", False, ["着火"])
    assert after.handling_class != "urgent"
    assert after.needs_review
    # another sentence with the same word does
    assert (await label(hub, "三号院门口的音箱着火了")).data.after.handling_class == "urgent"
    (example, *_) = (await hub.http.get("/v1/classify/safety-examples", headers=hub.admin)).json()["items"]
    assert (example["appeal_id"], example["state"]) == (first, "used")
    path = f"/v1/classify/safety-examples/{example['id']}"
    assert (await hub.http.post(f"{path}/undo", headers=hub.admin)).json()["state"] == "undone"
    assert (await label(hub, SAID)).data.after.handling_class == "urgent"
    await hub.http.post(f"{path}/use", headers=hub.admin)
    assert (await label(hub, SAID)).data.after.handling_class != "urgent"
    assert (await hub.http.post("/v1/classify/safety-examples/none/undo", headers=hub.admin)).status_code == 404
    assert (await hub.http.post(f"{path}/undo", headers=hub.token("seat"))).status_code == 403
