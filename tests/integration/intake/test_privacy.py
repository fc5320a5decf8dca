"""Planted contact data is found nowhere but in the sealed vault (domain.md, Privacy and audit)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from services.intake.keys import Keys
from services.intake.vault import Vault, VaultError
from shared.testing.harness import Harness
from tests.integration.intake.test_case_view import dispatched

PHONE = "13911237654"
SPOKEN = "一三九一一二三七六五四"
ID_NUMBER = "11010519491231002X"
NAME = "欧阳植树"
SECRETS = (PHONE, "139-1123-7654", SPOKEN, ID_NUMBER, "110105 19491231 002X", NAME, "3栋2单元501")

PLANTED: dict[str, Any] = {
    "channel": "phone",
    "title": f"{NAME}反映停电，电话{PHONE}",
    "text": f"我叫{NAME}，身份证{ID_NUMBER}（110105 19491231 002X），打139-1123-7654或{SPOKEN}找我，"
    "住海秀中路72号幸福小区3栋2单元501房",
    "external_id": "planted-1",
    "reporter": {"name": NAME, "phone": PHONE, "id_number": ID_NUMBER},
    "location": {
        "address": f"海秀中路72号幸福小区3栋2单元501房，{NAME} {PHONE}",
        "lon": 110.31234567,
        "lat": 20.01234567,
    },
    "emergency_action": {"taken_at": "2026-11-01T10:00:00+08:00", "by": f"{NAME} {PHONE}", "what": f"通知{NAME}断电"},
}


async def test_planted_contact_data_is_in_no_table_and_no_topic(hub: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await hub.http.post("/v1/appeals", json=PLANTED, headers=hub.admin)
    assert answer.status_code == 201, answer.text
    appeal_id = answer.json()["id"]
    bad = await hub.http.post(
        "/v1/appeals", json=PLANTED | {"channel": PHONE, "external_id": "planted-2"}, headers=hub.admin
    )
    assert bad.status_code == 422
    await dispatched(hub, appeal_id)
    await hub.settle()
    tables = await hub.query(
        "SELECT table_schema || '.' || quote_ident(table_name) AS name FROM information_schema.tables"
        " WHERE table_schema IN ('intake', 'bus') AND table_type = 'BASE TABLE'"
    )
    for table in tables:
        for row in await hub.query(f"SELECT * FROM {table['name']}"):
            held = " ".join(
                value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in row.values()
            )
            for secret in (*SECRETS, "110.31234567"):
                assert secret not in held, (table["name"], secret)
    case = await hub.http.get(f"/v1/appeals/{appeal_id}", headers=hub.admin)
    said = case.text + bad.text + (await hub.http.get("/ops/intake/metrics")).text
    said += (await hub.http.get("/v1/appeals", params={"q": "停电"}, headers=hub.admin)).text
    said += " ".join(record.getMessage() + str(record.__dict__) for record in caplog.records if record.name != "httpx")
    for secret in SECRETS:
        assert secret not in said


async def test_a_sealed_record_opens_for_its_own_appeal_only(hub: Harness) -> None:
    answer = await hub.http.post("/v1/appeals", json=PLANTED | {"external_id": "planted-3"}, headers=hub.admin)
    appeal_id = answer.json()["id"]
    (row,) = await hub.query("SELECT key_id, sealed FROM intake.vault WHERE appeal_id = $1::uuid", appeal_id)
    keys = Keys.load(hub.settings.keys, make=False)
    vault = Vault(keys.vault, keys.current)
    assert vault.open(appeal_id, row["key_id"], row["sealed"])["phone"] == PHONE
    with pytest.raises(VaultError):
        vault.open("01900000-0000-7000-8000-000000000000", row["key_id"], row["sealed"])
    with pytest.raises(VaultError):
        vault.open(appeal_id, "9", row["sealed"])
    assert (hub.settings.keys / "intake.json").stat().st_mode & 0o777 == 0o600
