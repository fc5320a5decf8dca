"""A new catalogue with other codes: shown, mapped, activated; models, cases in flight and history go on over it."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

from shared.city import CITIES
from shared.testing.harness import Harness
from tests.integration.classify.sayings import LAMP, VAGUE, label, labels, receive

CSV = (CITIES / "demo" / "catalogue.csv").read_text(encoding="utf-8")
LAMPS, MOVED = "02010201", "52010201"
"""the matter of LAMP, and its code in the new catalogue"""


def recoded(names: dict[str, str] | None = None, formerly: bool = False) -> str:
    """The demo catalogue with 50 added to the first two digits of each code; `names` renames matters by old code."""
    rows = list(csv.DictReader(io.StringIO(CSV)))
    out = io.StringIO()
    writer = csv.DictWriter(out, [*rows[0], *(["formerly"] if formerly else [])])
    writer.writeheader()
    for row in rows:
        old = row["code"]
        more = {"formerly": old} if formerly else {}
        writer.writerow(row | more | {"code": f"{int(old[:2]) + 50}{old[2:]}", "l4": (names or {}).get(old, row["l4"])})
    return out.getvalue()


def path_of(path: str) -> str:
    return f"/v1/catalogue{path}" if path.startswith("/pairs") else f"/v1/catalogue/versions{path}"


async def post(hub: Harness, path: str, **body: Any) -> dict[str, Any]:
    answer = await hub.http.post(path_of(path), headers=hub.admin, **body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def get(hub: Harness, path: str) -> dict[str, Any]:
    answer = await hub.http.get(f"/v1/catalogue/versions{path}", headers=hub.admin)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_catalogue_of_new_codes_is_mapped_by_proposals_that_persons_decide(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        waiting = await receive(hub, VAGUE)
        before = (await label(hub, LAMP)).data.after
        assert before.matter.code == LAMPS
        csv_text = recoded({LAMPS: "公共照明设施熄灭"})
        shown = await post(hub, "", content=csv_text.encode("gb18030"))
        version = shown["version"]
        assert shown["mapping"]["codes_without"] == 90
        assert shown["impact"]["recent_labels_on_removed"] == 2

        proposed = await post(hub, f"/{version}/mapping/propose")
        assert proposed["mapping"]["pairs"]["open"] >= 90
        rows = (await get(hub, f"/{version}/mapping?state=open&limit=200"))["items"]
        lamp = max((row for row in rows if row["old"]["code"] == LAMPS), key=lambda row: row["score"])
        assert lamp["new"] == {"code": MOVED, "path": ["交通出行", "道路设施", "照明信号", "公共照明设施熄灭"]}
        assert 0.3 < lamp["score"] < 0.995
        done = await post(hub, f"/{version}/mapping/accept", json={"at_least": 0.995})
        assert (done["accepted"], done["mapping"]["first_without"]) == (89, [LAMPS])

        pair = f"/pairs/{lamp['id']}"
        assert (await post(hub, f"{pair}/accept"))["state"] == "accepted"
        assert (await post(hub, f"{pair}/accept"))["state"] == "accepted"
        refused = await hub.http.post(path_of(f"{pair}/reject"), headers=hub.admin)
        assert (refused.status_code, refused.json()["code"]) == (409, "already_decided")
        assert (await post(hub, f"{pair}/undo"))["state"] == "open"
        assert (await get(hub, f"/{version}"))["mapping"]["codes_without"] == 1
        await post(hub, f"{pair}/accept")
        assert (await get(hub, f"/{version}"))["impact"]["matters_the_model_does_not_know"] == []
        codes = await get(hub, f"/{version}/codes")
        assert (codes["from"], codes["codes"][LAMPS], codes["without"]) == ("1", MOVED, [])

        await post(hub, f"/{version}/activate")
        after = (await label(hub, LAMP)).data.after
        # the model was trained on the old codes
        assert (after.matter.code, after.model, after.degraded) == (MOVED, before.model, False)
        assert len(after.candidates) == 5
        assert abs(after.matter.probability - before.matter.probability) < 0.01

        # what waits for a person keeps the version that it was labelled with
        (queued,) = (await hub.http.get("/v1/reviews", headers=hub.admin)).json()["items"]
        assert (queued["appeal_id"], queued["catalogue_version"]) == (waiting, "1")
        old_matters = (await hub.http.get("/v1/matters?q=路灯&version=1", headers=hub.admin)).json()["items"]
        assert LAMPS in {matter["code"] for matter in old_matters}
        decided = await hub.http.post(f"/v1/reviews/{waiting}", json={"matter": LAMPS}, headers=hub.admin)
        assert decided.status_code == 200, decided.text
        assert decided.json()["catalogue_version"] == "1"
        # a matter that only the new one has moves the case there
        await hub.http.post(f"/v1/reviews/{waiting}", json={"matter": MOVED}, headers=hub.admin)
        await hub.settle()
        assert (await labels(hub, waiting))[-1].data.after.catalogue_version == version

        # history under both versions
        await hub.advance(1)
        for number, code in ((version, MOVED), ("1", LAMPS)):
            history = await get(
                hub, f"/{number}/history?since={(hub.clock.now() - timedelta(days=1)).isoformat()[:19]}Z"
            )
            assert {item["code"]: item["labels"] for item in history["items"]} == {code: 3}
            assert history["without_a_successor"] == []


async def test_a_given_mapping_holds_at_once_and_is_checked(server_url: str) -> None:
    async with Harness.fresh(server_url, "classify") as hub:
        shown = await post(hub, "", content=recoded(formerly=True).encode())
        assert shown["mapping"]["pairs"] == {"open": 0, "accepted": 90, "rejected": 0}
        assert shown["mapping"]["codes_without"] == 0
        # every label of the model leads on
        assert (
            shown["impact"]["model_labels_no_longer_used"] == shown["impact"]["matters_the_model_does_not_know"] == []
        )
        plain = (await post(hub, "", content=recoded().encode()))["version"]
        given = await post(hub, f"/{plain}/mapping", content=f"old,new\n{LAMPS},{MOVED}\n".encode())
        assert given["mapping"]["pairs"]["accepted"] == 1
        again = await post(hub, f"/{plain}/mapping", content=f"old,new\n{LAMPS},52010202\n".encode())
        assert again["mapping"]["pairs"] == {"open": 1, "accepted": 1, "rejected": 0}
        taken = await hub.http.post(f"/v1/catalogue/pairs/{plain}-{LAMPS}-{MOVED}/accept", headers=hub.admin)
        assert (taken.status_code, taken.json()["code"], taken.json()["now"]) == (409, "already_mapped", "52010202")
        for body in ("old,new\n99999999,52010201", "old,new\n02010201,99999999", "old,new\nx,y", "a,b"):
            refused = await hub.http.post(
                f"/v1/catalogue/versions/{plain}/mapping", content=body.encode(), headers=hub.admin
            )
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_mapping")
        first = await hub.http.post("/v1/catalogue/versions/1/mapping/propose", headers=hub.admin)
        assert (first.status_code, first.json()["code"]) == (409, "no_version_before")
        strange = recoded(formerly=True).replace(",02010201\r\n", ",99999999\r\n")
        refused = await hub.http.post("/v1/catalogue/versions", content=strange.encode(), headers=hub.admin)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_mapping")
        for path in ("/99", "/99/codes", "/x/mapping", "/99/history"):
            assert (await hub.http.get(f"/v1/catalogue/versions{path}", headers=hub.admin)).status_code == 404
