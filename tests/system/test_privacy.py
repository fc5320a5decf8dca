"""Phone and ID numbers planted in text, title, address and name are found nowhere but sealed in intake's vault."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from shared.events.catalog import TOPICS
from tests.bench.stack import Stack
from tests.system.test_outsiders import read_all
from tests.system.test_whole_life import advance, ok

PHONE = "13876540912"
ID_NUMBER = "460106199003078212"
NAME = "欧阳若兰"


def check_digit(first_seventeen: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(first_seventeen, weights, strict=True)) % 11]


ID_VALID = ID_NUMBER[:17] + check_digit(ID_NUMBER[:17])


async def every_row(url: str) -> dict[str, str]:
    """Every table of every schema as text."""
    connection: Any = await asyncpg.connect(url)
    found: dict[str, str] = {}
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for schema, table in tables:
            rows = await connection.fetch(f'SELECT t::text FROM "{schema}"."{table}" t')
            text = "\n".join(row[0] for row in rows)
            hidden = await connection.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
                " AND data_type = 'bytea'",
                schema,
                table,
            )
            for (column,) in hidden:  # event bodies are bytes: look inside
                for row in await connection.fetch(f'SELECT "{column}" FROM "{schema}"."{table}"'):
                    if row[0]:
                        text += row[0].decode(errors="replace")
            found[f"{schema}.{table}"] = text
    finally:
        await connection.close()
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_planted_numbers_are_found_in_no_topic_log_metric_or_table(http: httpx.Client, stack: Stack) -> None:
    body = {
        "channel": "web",
        "title": f"{NAME}反映停水，电话{PHONE}",
        "text": f"我叫{NAME}，身份证{ID_VALID}，电话１３８７６５４０９１２或138-7654-0912，家里停水两天，请恢复供水。",
        "reporter": {"name": NAME, "phone": PHONE, "id_number": ID_VALID},
        "location": {"address": f"龙华区金贸街道某小区2栋1单元503室（{NAME} {PHONE}）"},
    }
    posted = ok(http.post("/v1/appeals", json=body), 201)
    # damaged copies too: what is refused must not be repeated in the answer or the log
    refused = http.post("/v1/appeals", json={**body, "channel": f"no such {PHONE}", "occurred_at": PHONE})
    assert refused.status_code == 422
    assert PHONE not in refused.text
    advance(http, 5)
    case = ok(http.get(f"/v1/appeals/{posted['id']}"))
    order = f"/v1/work-orders/{case['work_orders'][0]['id']}"
    if ok(http.get(order))["status"] == "pending":
        ok(http.post(f"/v1/reviews/{posted['id']}", json={"matter": case["labels"]["matter"]["code"]}))
        advance(http, 1)
    ok(http.post(f"{order}/accept", json={"note": f"已联系欧阳女士，{PHONE}"}))
    ok(http.post(f"{order}/progress", json={"note": f"与身份证{ID_VALID}的业主约好"}))
    ok(http.post(f"{order}/complete", json={"result": f"已恢复供水，回复{PHONE}", "solved": True}))
    advance(http, 5)
    query = {"reference_no": posted["reference_no"], "query_code": posted["query_code"]}
    track = ok(http.get("/v1/track", params=query))
    ok(
        http.post(
            track["rating_url"],
            json={"contacted": True, "solved": True, "satisfaction": 5, "words": f"谢谢，{PHONE}，{ID_VALID}"},
        )
    )
    advance(http, 5)

    places: dict[str, str] = asyncio.run(every_row(stack.facts["database_url"]))
    if stack.transport == "kafka":
        records = asyncio.run(read_all(stack.facts["kafka"]))
        places["topics"] = "".join(str(record.headers) + record.value.decode() for record in records)
        assert set(TOPICS) >= {record.topic for record in records}
    for path in Path(stack.folder).rglob("*.log"):
        if path.parent.name == "log":
            places[str(path)] = path.read_text(errors="replace")
    places["output"] = (stack.folder.parent / f"{stack.folder.name}.out").read_text(errors="replace")
    for service in ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal"):
        places[f"metrics of {service}"] = http.get(f"/ops/{service}/metrics").text
    places["timeline"] = http.get(f"/v1/appeals/{posted['id']}/timeline").text
    places["case"] = http.get(f"/v1/appeals/{posted['id']}").text
    places["track"] = http.get("/v1/track", params=query).text
    for place, text in places.items():
        for secret in (PHONE, ID_VALID, ID_VALID[:-1], PHONE[3:]):
            assert secret not in text, f"a planted number is in {place}"
    for place, text in places.items():
        assert NAME not in text, f"the planted name is in {place}"
