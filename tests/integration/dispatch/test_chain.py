"""Rules that are off in every replica, and past cases decided again by a changed chain."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio

from services.dispatch.bootstrap import build
from services.dispatch.domain import Case, Context, Pass, Proposal
from services.dispatch.rules.guard import SLOW_S, TIMES
from shared.clock import rfc3339
from shared.db.database import Database
from shared.service.runner import Runner
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import new_order


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "dispatch") as found:
        yield found


class Dawdler:
    name = "dawdler"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        time.sleep(SLOW_S * 1.3)
        return Pass("想了很久。")


async def rules(hub: Harness) -> dict[str, dict[str, Any]]:
    answer = await hub.http.get("/v1/routing/rules", headers=hub.admin)
    assert answer.status_code == 200, answer.text
    return {item["rule"]: item for item in answer.json()["items"]}


async def test_a_slow_rule_is_off_everywhere_until_a_person_switches_it_on(hub: Harness) -> None:
    desk = hub.runners["dispatch"].service.state
    desk.rules = (Dawdler(), *desk.rules)
    orders = [await new_order(hub) for _ in range(TIMES + 1)]
    assert [order["decision"][0]["outcome"] for order in orders] == ["passed"] * TIMES + ["off"]
    assert (await rules(hub))["dawdler"]["state"] == "off"
    async with asyncio.timeout(5):
        while (await rules(hub))["dawdler"]["off_since"] is None:
            await asyncio.sleep(0.02)
    # another replica, started later
    database = Database(hub.settings.database_url, "dispatch", hub.clock, platform="460100")
    other = build(hub.settings, hub.clock, hub.transport, database)
    runner = Runner(other, hub.transport)
    async with database.read() as pg:
        await other.state.refresh(pg)
    assert "dawdler" in other.state.guard.off
    answer = await hub.http.post("/v1/routing/rules/dawdler/on", headers=hub.token("supervisor"))
    assert answer.status_code == 200, answer.text
    assert (await new_order(hub))["decision"][0]["outcome"] == "passed"
    async with database.read() as pg:
        await other.state.refresh(pg)
    assert other.state.guard.off == {}
    assert (await hub.http.post("/v1/routing/rules/dawdler/on", headers=hub.admin)).status_code == 404
    del runner
    await database.close()


def period(hub: Harness) -> dict[str, str]:
    now = hub.clock.now()
    return {"from": rfc3339(now - timedelta(days=1)), "to": rfc3339(now + timedelta(days=1))}


async def replay(hub: Harness, **change: Any) -> dict[str, Any]:
    answer = await hub.http.post("/v1/routing/replay", json=period(hub) | change, headers=hub.admin)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(20):
        while True:
            found = await hub.http.get(f"/v1/routing/replay/{answer.json()['id']}", headers=hub.admin)
            if found.json()["state"] in ("done", "failed"):
                result: dict[str, Any] = found.json()
                return result
            await asyncio.sleep(0.02)


async def test_a_replay_shows_exactly_who_would_have_got_what_and_changes_nothing(hub: Harness) -> None:
    orders = [await new_order(hub) for _ in range(6)]
    lead, matter = orders[0]["lead"], orders[0]["matter"]
    versions = {order["id"]: order["version"] for order in orders}
    duty = {"matter": matter[:4], "region_code": "460100", "lead": "460100-cityadmin", "list": "duty"}
    found = await replay(hub, add_duties=[duty])
    assert (found["state"], found["total"], found["examined"], found["moved"]) == ("done", 6, 6, 6)
    assert {item["work_order_id"] for item in found["items"]} == set(versions)
    assert {(item["lead_now"], item["lead_then"], item["rule_then"]) for item in found["items"]} == {
        (lead, "460100-cityadmin", "duty_list")
    }
    assert [(row["lead_now"], row["orders"]) for row in found["by_unit"]] == [(lead, 6)]
    for order in orders:
        shown = (await hub.http.get(f"/v1/work-orders/{order['id']}", headers=hub.admin)).json()
        assert (shown["lead"], shown["version"]) == (lead, versions[order["id"]])
    # what the replay said is what happens once it is switched on
    answer = await hub.http.post("/v1/duties", json=duty, headers=hub.admin)
    assert answer.status_code == 201, answer.text
    assert (await new_order(hub))["lead"] == "460100-cityadmin"
    back = await replay(hub, without_duties=[answer.json()["id"]])
    assert Counter((item["lead_now"], item["lead_then"]) for item in back["items"]) == {("460100-cityadmin", lead): 7}


async def test_a_replay_of_fewer_rules_falls_to_the_next(hub: Harness) -> None:
    await new_order(hub)
    found = await replay(hub, rules=["last_resort"])
    assert [(item["lead_then"], item["rule_then"]) for item in found["items"]] == [
        (hub.runners["dispatch"].service.state.units.centre.code, "last_resort")
    ]


async def test_a_replay_that_a_dead_worker_held_goes_on_where_it_was(hub: Harness) -> None:
    for _ in range(3):
        await new_order(hub)
    async with hub.runners["dispatch"].service.database.transaction() as uow:
        await uow.pg.execute(
            "INSERT INTO dispatch.replays (id, state, change, opened_from, opened_to, cursor, total, examined, moved,"
            " lease, leased_until, asked_by, asked_at) SELECT '01900000-0000-7000-8000-000000000000', 'running',"
            " '{\"rules\": [\"last_resort\"]}', '2020-01-01', '2040-01-01', min(id), 3, 1, 0, 'dead',"
            " now() - interval '1 s', 'user:x', now() FROM dispatch.work_orders"
        )
    async with asyncio.timeout(10):
        while True:
            answer = await hub.http.get("/v1/routing/replay/01900000-0000-7000-8000-000000000000", headers=hub.admin)
            if answer.json().get("state") == "done":
                break
            await asyncio.sleep(0.05)
    assert (answer.json()["examined"], answer.json()["moved"]) == (3, 2)


async def test_a_replay_of_nonsense_is_refused_with_its_place(hub: Harness) -> None:
    duty = {"matter": "01", "region_code": "460100", "lead": "nobody"}
    for body, pointer in (
        (period(hub), "/"),
        (period(hub) | {"rules": ["rule_of_nobody"]}, "/rules"),
        (period(hub) | {"rules": []}, "/rules"),
        ({"from": period(hub)["to"], "to": period(hub)["from"], "rules": ["last_resort"]}, "/to"),
        (period(hub) | {"add_duties": [duty]}, "/add_duties/0/lead"),
        (period(hub) | {"without_duties": ["none"]}, "/without_duties"),
        (period(hub) | {"units_version": 99}, "/units_version"),
        ({"from": "2026-11-01", "to": period(hub)["to"], "rules": ["last_resort"]}, "/from"),
    ):
        answer = await hub.http.post("/v1/routing/replay", json=body, headers=hub.admin)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer, answer.text


HEAD = "list,matter,region,lead,co_handlers,hours,valid_from,valid_to,note\n"


async def send_duties(hub: Harness, text: str, *, activate: bool = False, encoding: str = "utf-8") -> Any:
    return await hub.http.post(
        "/v1/duties/import",
        params={"activate": str(activate).lower()},
        content=text.encode(encoding),
        headers=hub.admin | {"Content-Type": "text/csv"},
    )


async def test_a_duty_file_shows_what_it_would_move_and_holds_once_activated(hub: Harness) -> None:
    order = await new_order(hub)
    ruled = await hub.http.post(
        "/v1/duties", json={"matter": "99", "region_code": "460100", "lead": "460100-gas"}, headers=hub.admin
    )
    assert ruled.status_code == 201, ruled.text
    row = f"duty,{order['matter'][:4]},460100,460100-cityadmin,,,,,市级负责\n"
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        tried = await send_duties(hub, HEAD + row, encoding=encoding)
        assert tried.status_code == 200, tried.text
        assert tried.json()["impact"]["moves"] == [{"from": order["lead"], "to": "460100-cityadmin", "orders": 1}]
    listed = (await hub.http.get("/v1/duties?limit=200", headers=hub.admin)).json()["items"]
    assert tried.json()["diff"]["removed_count"] == len(listed) - 1  # what a person entered stays
    assert (await new_order(hub))["lead"] == order["lead"]  # nothing was changed yet
    held = await send_duties(hub, HEAD + row, activate=True)
    assert (held.status_code, held.json()["active"]) == (200, True)
    assert (await new_order(hub))["lead"] == "460100-cityadmin"
    listed = (await hub.http.get("/v1/duties?limit=200", headers=hub.admin)).json()["items"]
    assert sorted(item["source"] for item in listed) == ["import", "manual"]
    again = await send_duties(hub, HEAD + row, activate=True)
    assert (again.json()["diff"]["added_count"], again.json()["diff"]["unchanged"]) == (0, 1)


async def test_a_duty_file_with_faults_names_every_line_and_changes_nothing(hub: Harness) -> None:
    before = (await hub.http.get("/v1/duties?limit=200", headers=hub.admin)).json()["items"]
    text = HEAD + (
        "duty,0101,460100,460100-gas,,,2026-01-01,2026-06-30,\n"
        "duty,0101,460100,460100-power,,,2026-06-30,,\n"
        "duty,0101,460100,460100-power,,,2026-07-01,2026-01-01,\n"
        "rota,0101,460100,460100-gas,,,,,\n"
        "duty,供水,460100,460100-gas,,,,,\n"
        "duty,0102,,460100-gas,,,,,\n"
        "duty,0102,460100,nobody,,,,,\n"
        "duty,0103,460100,460100-gas,,,46023,,\n"
        "roster,03,460100,460100-gas,,20:00-08:00,,,\n"
        "roster,03,460100,460100-power,,07:00-09:00,,,\n"
        "roster,03,460100,460100-power,,09:00-20:00,,,\n"
    )
    answer = await send_duties(hub, text, activate=True)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [
        *("/3/matter", "/4/valid_to", "/5/list", "/6/matter", "/7/region", "/8/lead"),
        *("/9/valid_from", "/11/matter"),
    ]
    assert (await hub.http.get("/v1/duties?limit=200", headers=hub.admin)).json()["items"] == before
    for wrong in ("", "a,b\n1,2\n", "\x00\x01"):
        assert (await send_duties(hub, wrong)).status_code == 422
