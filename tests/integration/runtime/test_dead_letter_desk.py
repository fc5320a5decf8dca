"""Dead letters over HTTP: what an operator sees and does."""

from shared.bus.records import Record
from shared.events.catalog.appeals import AppealReceived
from shared.testing.harness import Harness
from tests.contract.bus.counting import fact


async def test_a_discarded_letter_lets_the_rest_of_its_case_go_on_and_is_audited(server_url: str) -> None:
    topic, key = AppealReceived.topic, "0199e0a0-0000-7000-8000-000000000001"
    damaged = fact(key, 2, topic)
    async with Harness.fresh(server_url, "journal") as hub:
        await hub.publish(fact(key, 1, topic))
        await hub.publish(Record(topic, key, damaged.headers, b"no JSON"))
        await hub.publish(fact(key, 3, topic))
        await hub.settle()
        letters = (await hub.http.get("/ops/journal/dead-letters", headers=hub.admin)).json()["items"]
        assert [letter["status"] for letter in letters] == ["parked", "waiting"]
        assert "value" not in letters[0]  # a citizen's words are not shown
        again = await hub.http.post(f"/ops/journal/dead-letters/{letters[0]['id']}/replay", headers=hub.admin)
        assert (again.status_code, again.json()["code"]) == (409, "still_failing")
        gone = await hub.http.post(f"/ops/journal/dead-letters/{letters[0]['id']}/discard", headers=hub.admin)
        assert gone.json() == {"discarded": letters[0]["id"], "replayed": 1}
        twice = await hub.http.post(f"/ops/journal/dead-letters/{letters[0]['id']}/discard", headers=hub.admin)
        assert (twice.status_code, twice.json()["code"]) == (409, "already_ended")
        await hub.publish(fact(key, 4, topic))
        await hub.settle()
        rows = await hub.query("SELECT sequence FROM journal.events WHERE subject = $1 ORDER BY sequence", key)
        assert [row["sequence"] for row in rows] == [1, 3, 4]
        checks = (await hub.http.get("/ops/journal/reconcile", headers=hub.admin)).json()["checks"]
        assert (checks["dead_letters_open"], checks["early_waiting"]) == (0, 0)
        entries = (await hub.http.get("/ops/journal/audit", headers=hub.admin)).json()["items"]
        assert [entry["action"] for entry in entries][-1] == "dead_letter.discarded"
        refused = await hub.http.post("/ops/journal/dead-letters/1/discard", headers=hub.token("supervisor"))
        assert refused.status_code == 403
