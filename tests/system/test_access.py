"""Who may do what: every documented operation × every role, and the row scope of region, unit and platform (api.md)."""

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.bench.stack import Stack

SERVICES = ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal")
OWN = "460100"
"""region code of the demo platform"""
HERE, THERE = "460106", "460105"
"""two of its districts"""
STRANGER = "460300"
"""another platform that sends appeals"""

STAFF = "seat handler supervisor leader auditor"
EVERYBODY = f"{STAFF} platform"
NOBODY = ""
"""only admin, who may everything"""

ROLES = EVERYBODY.split()

TOKENLESS = {
    "GET /v1/track",
    "GET /v1/track/attachments",
    "POST /v1/track/attachments",
    "GET /v1/track/attachments/{attachment_id}",
    "GET /v1/ratings/{token}",
    "POST /v1/ratings/{token}",
    "GET /ops/{service}/health/live",
    "GET /ops/{service}/health/ready",
    "GET /ops/{service}/metrics",
}

SIGNED = {"POST /v1/handoffs", "GET /v1/handoffs/{handoff_id}", "POST /v1/handoffs/{handoff_id}/receipts"}
"""between platforms: no token opens them"""

LEADS = ["accept", "contact", "progress", "complete", "return", "suspend", "extend", "resume", "co-handlers", "split"]
ACTIONS = [*LEADS, "recall", "transfer"]

MAY = {
    # intake
    "POST /v1/appeals": "seat platform",
    "POST /v1/appeals/batch": "seat platform",
    "GET /v1/appeals": EVERYBODY,
    "GET /v1/appeals/{appeal_id}": EVERYBODY,
    "GET /v1/appeals/{appeal_id}/timeline": EVERYBODY,
    "POST /v1/appeals/{appeal_id}/withdraw": "seat platform",
    "POST /v1/appeals/{appeal_id}/decline": "seat supervisor",
    "POST /v1/appeals/{appeal_id}/link": "seat supervisor",
    "POST /v1/appeals/{appeal_id}/unlink": "seat supervisor",
    "POST /v1/appeals/{appeal_id}/unmask": "seat handler",
    "GET /v1/appeals/places": STAFF,
    "POST /v1/appeals/places/{name}/{decision}": "supervisor",
    "POST /v1/attachments": "seat handler supervisor platform",
    "GET /v1/attachments": EVERYBODY,
    "GET /v1/attachments/{attachment_id}": EVERYBODY,
    "POST /v1/tokens": NOBODY,
    "GET /v1/clock": EVERYBODY,
    "POST /v1/clock": NOBODY,
    # classify
    "POST /v1/classify": EVERYBODY,
    "GET /v1/classify/quality": "seat supervisor leader auditor",
    "GET /v1/classify/safety-examples": "seat supervisor leader auditor",
    "POST /v1/classify/safety-examples/{example_id}/{decision}": "supervisor",
    "GET /v1/reviews": "seat supervisor leader auditor",
    "POST /v1/reviews/lease": "seat supervisor",
    "POST /v1/reviews/{appeal_id}": "seat supervisor",
    "GET /v1/matters": EVERYBODY,
    "GET /v1/catalogue/versions": EVERYBODY,
    "POST /v1/catalogue/versions": NOBODY,
    "GET /v1/catalogue/versions/{version}": "seat supervisor leader auditor",
    "POST /v1/catalogue/versions/{version}/activate": NOBODY,
    "GET /v1/catalogue/versions/{version}/mapping": "seat supervisor leader auditor",
    "POST /v1/catalogue/versions/{version}/mapping": NOBODY,
    "POST /v1/catalogue/versions/{version}/mapping/propose": NOBODY,
    "POST /v1/catalogue/versions/{version}/mapping/accept": NOBODY,
    "POST /v1/catalogue/pairs/{pair}/{decision}": NOBODY,
    "GET /v1/catalogue/versions/{version}/codes": EVERYBODY,
    "GET /v1/catalogue/versions/{version}/history": "seat supervisor leader auditor",
    "GET /v1/tags": EVERYBODY,
    "POST /v1/tags": "supervisor",
    "GET /v1/tags/quality": "seat supervisor leader auditor",
    "POST /v1/tags/proposals": "supervisor",
    "GET /v1/tags/proposals": "seat supervisor leader auditor",
    "POST /v1/tags/proposals/{proposal_id}/{decision}": "supervisor",
    "GET /v1/models": EVERYBODY,
    "POST /v1/models": NOBODY,
    "POST /v1/models/{version}/activate": NOBODY,
    "POST /v1/models/rollback": NOBODY,
    # dispatch
    "GET /v1/work-orders": STAFF,
    "GET /v1/work-orders/{order_id}": STAFF,
    **{f"POST /v1/work-orders/{{order_id}}/{action}": "seat handler supervisor leader" for action in ACTIONS},
    "POST /v1/work-orders/bulk": "seat handler supervisor leader",
    "GET /v1/disputes": STAFF,
    "GET /v1/disputes/{dispute_id}": STAFF,
    "POST /v1/disputes": "seat supervisor leader",
    "POST /v1/disputes/{dispute_id}/checks": "seat supervisor leader",
    "POST /v1/disputes/{dispute_id}/checks/{check_id}/record": "seat handler supervisor leader",
    "POST /v1/disputes/{dispute_id}/ruling": "seat supervisor leader",
    "POST /v1/disputes/{dispute_id}/contest": "seat handler supervisor leader",
    "POST /v1/disputes/{dispute_id}/contest/decision": "leader",
    "GET /v1/approvals": STAFF,
    "POST /v1/approvals/{approval_id}/approve": "seat supervisor leader",
    "POST /v1/approvals/{approval_id}/reject": "seat supervisor leader",
    "GET /v1/duties": EVERYBODY,
    "POST /v1/duties": "supervisor leader",
    "POST /v1/routing/impact": "supervisor leader",
    "POST /v1/duties/import": "supervisor leader",
    "POST /v1/duties/{duty_id}/end": "supervisor leader",
    "GET /v1/routing/rules": STAFF,
    "POST /v1/routing/rules/{rule}/on": "supervisor leader",
    "GET /v1/routing/replay": STAFF,
    "POST /v1/routing/replay": "supervisor leader",
    "GET /v1/routing/replay/{replay_id}": STAFF,
    "POST /v1/routing/preview": STAFF,
    "GET /v1/units": EVERYBODY,
    "POST /v1/units/import": "supervisor leader",
    "POST /v1/units/import/{version}/activate": "supervisor leader",
    "POST /v1/units/{code}/absences": "supervisor leader",
    "GET /v1/platforms": EVERYBODY,
    "GET /v1/platforms/offers": STAFF,
    "POST /v1/platforms/offers/{offer_id}/accept": "seat supervisor leader",
    "POST /v1/platforms/offers/{offer_id}/refuse": "seat supervisor leader",
    # sla
    "GET /v1/clocks/{work_order_id}": STAFF,
    "GET /v1/lamps": STAFF,
    "GET /v1/supervisions": STAFF,
    "POST /v1/supervisions/{supervision_id}/acknowledge": "handler supervisor leader",
    "GET /v1/sla/policies": STAFF,
    "POST /v1/sla/policies": "leader",
    "GET /v1/sla/calendars": STAFF,
    "POST /v1/sla/calendars": "leader",
    "POST /v1/sla/calendars/import": "leader",
    "POST /v1/sla/what-if": "leader",
    "GET /v1/sla/policies/{version}/moved": STAFF,
    "GET /v1/sla/calendars/{version}/moved": STAFF,
    "GET /v1/sla/suspensions": STAFF,
    # feedback
    "GET /v1/callbacks": "seat supervisor leader",
    "POST /v1/callbacks/lease": "seat supervisor leader",
    "POST /v1/callbacks/{appeal_id}/attempts": "seat supervisor leader",
    "POST /v1/callbacks/{appeal_id}/decision": "supervisor leader",
    "GET /v1/exclusions": "handler supervisor leader auditor",
    "POST /v1/exclusions": "handler supervisor leader",
    "POST /v1/exclusions/{exclusion_id}/decision": "supervisor leader",
    "POST /v1/exclusions/{exclusion_id}/review": "handler seat",
    "POST /v1/exclusions/{exclusion_id}/review/decision": "leader",
    "GET /v1/exclusions/statistics": "supervisor leader auditor",
    "GET /v1/callbacks/false-completions": "handler supervisor leader auditor",
    "POST /v1/callbacks/{appeal_id}/false-completions/{round}/decision": "supervisor leader",
    "POST /v1/callbacks/{appeal_id}/false-completions/{round}/review": "handler seat",
    "POST /v1/callbacks/{appeal_id}/false-completions/{round}/review/decision": "leader",
    # evaluate
    "GET /v1/evaluations/{period}": STAFF,
    "GET /v1/evaluations/{period}/cases": STAFF,
    "GET /v1/evaluations/{period}/signs": "supervisor leader auditor",
    "GET /v1/evaluations/{period}/incentives": STAFF,
    "GET /v1/portraits/{unit}": STAFF,
    "GET /v1/evaluations/{period}/snapshot": "leader auditor",
    "POST /v1/evaluations/{period}/publish": "leader",
    "POST /v1/evaluations/{period}/rebuild": "leader auditor",
    "GET /v1/rankings/{period}": STAFF,
    "GET /v1/bulletins": "seat supervisor leader auditor",
    "GET /v1/bulletins/{period}": "seat supervisor leader auditor",
    "GET /v1/formulas": EVERYBODY,
    "POST /v1/formulas": "leader",
    "POST /v1/formulas/trial": "leader",
    # journal
    "GET /v1/events": "platform auditor leader",
    "GET /v1/events/counts": "platform auditor leader",
    "GET /v1/events/peers": "supervisor leader auditor",
    "POST /v1/events/peers/{platform}/replay": NOBODY,
    "GET /v1/webhooks": "platform",
    "POST /v1/webhooks": "platform",
    "GET /v1/webhooks/{webhook_id}": "platform",
    "DELETE /v1/webhooks/{webhook_id}": "platform",
    "POST /v1/webhooks/{webhook_id}/pause": "platform",
    "POST /v1/webhooks/{webhook_id}/resume": "platform",
    "POST /v1/webhooks/{webhook_id}/secret": "platform",
    "POST /v1/webhooks/{webhook_id}/replay": "platform",
    "GET /v1/webhooks/{webhook_id}/deliveries": "platform",
    # every service
    "GET /ops/{service}/dead-letters": "auditor",
    "POST /ops/{service}/dead-letters/{letter_id}/replay": NOBODY,
    "POST /ops/{service}/dead-letters/{letter_id}/discard": NOBODY,
    "GET /ops/{service}/reconcile": "auditor",
    "GET /ops/{service}/audit": "auditor",
    "GET /ops/{service}/audit/verify": "auditor",
}


def address(operation: str) -> tuple[str, str]:
    """Method and path of an operation, with ids that nobody has."""
    method, _, path = operation.partition(" ")
    words = {"period": "2026-01", "letter_id": "9", "version": "9", "decision": "accept"}
    for name, value in words.items():
        path = path.replace(f"{{{name}}}", value)
    return method, re.sub(r"\{\w+\}", "01900000-0000-7000-8000-000000000000", path)


def ask(client: httpx.Client, operation: str, **more: Any) -> httpx.Response:
    """A call whose body no operation takes, so that nothing is done by those who may."""
    method, path = address(operation)
    return client.request(method, path, json=[] if method == "POST" else None, **more)


@pytest.fixture(scope="module")
def operations(http: httpx.Client) -> list[str]:
    """Every documented operation, as in `MAY`, with the service's name filled in."""
    found = []
    for service in SERVICES:
        for path, item in http.get(f"/ops/{service}/openapi.json").json()["paths"].items():
            found += [f"{method.upper()} {path}" for method in item]
    return found


def general(operation: str) -> str:
    return re.sub(r"/ops/\w+/", "/ops/{service}/", operation)


@pytest.fixture(scope="module")
def token(http: httpx.Client) -> Callable[..., dict[str, str]]:
    """Headers of a token with these claims."""

    def make(*roles: str, **claims: Any) -> dict[str, str]:
        answer = http.post("/v1/tokens", json={"sub": f"test-{'-'.join(roles)}", "roles": list(roles)} | claims)
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return make


Token = Callable[..., dict[str, str]]


def test_every_operation_has_its_roles_in_the_table(operations: list[str]) -> None:
    assert {general(operation) for operation in operations} == MAY.keys() | TOKENLESS | SIGNED


def test_without_a_token_only_the_tokenless_operations_answer(stack: Stack, operations: list[str]) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        for operation in operations:
            answer = ask(stranger, operation)
            if general(operation) in TOKENLESS:
                assert answer.status_code != 401, operation
            else:
                assert answer.status_code == 401, f"{operation}: {answer.status_code}"
                scheme = "Signature" if general(operation) in SIGNED else "Bearer"
                assert answer.headers["www-authenticate"].startswith(scheme), operation


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_what_the_table_says_and_no_more(
    stack: Stack, token: Token, operations: list[str], role: str
) -> None:
    claims: dict[str, dict[str, Any]] = {"handler": {"units": ["nobody"]}, "platform": {"platform": OWN}}
    with httpx.Client(base_url=stack.url, headers=token(role, **claims.get(role, {})), trust_env=False) as client:
        wrong = []
        for operation in operations:
            answer = ask(client, operation)
            may = general(operation) in TOKENLESS or role in MAY.get(general(operation), NOBODY).split()
            if may == (answer.status_code in (401, 403)) or answer.status_code >= 500:
                wrong.append(f"{operation}: {answer.status_code}")
        assert not wrong, f"{role}: {wrong}"


def test_a_token_of_another_issuer_opens_nothing(stack: Stack, token: Token, operations: list[str]) -> None:
    head, body, signature = token("admin")["Authorization"].removeprefix("Bearer ").split(".")
    forged = [f"{head}.{body}.{signature[::-1]}", f"{head}.{body}.", f"{head}.{body}"]
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        for text in forged:
            assert ask(stranger, "GET /v1/units", headers={"Authorization": f"Bearer {text}"}).status_code == 401


# --- row scope -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An appeal with its order."""

    appeal: str
    order: str
    unit: str


@dataclass(frozen=True)
class Scene:
    """One case `here`, from the citizens' own hotline, led by one unit; one `there`, from another platform."""

    here: Case
    there: Case
    mark: str
    """a word of both texts"""


def until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come")


@pytest.fixture(scope="module")
def scene(http: httpx.Client, token: Token) -> Scene:
    """Two cases in two districts, led by a unit of each, both completed: one of the phone, so it is called back."""
    mark = f"路灯{uuid.uuid4().hex[:12]}"
    units = http.get("/v1/units", params={"limit": 200}).json()["items"]

    def make(region: str, sender: dict[str, str] | None = None) -> Case:
        body = {"channel": "phone", "text": f"{mark} 坏了三天", "location": {"region_code": region}}
        appeal = http.post("/v1/appeals", json=body, headers=sender).json()["id"]
        order = until(lambda: http.get(f"/v1/appeals/{appeal}").json()["work_orders"], "the order")[0]["id"]
        unit = next(unit["code"] for unit in units if unit["region_code"].startswith(region))
        steps: list[tuple[str, dict[str, Any]]] = [
            ("transfer", {"lead": unit, "reason": "测试"}),
            ("accept", {}),
            ("contact", {}),
            ("complete", {"result": "已修好", "solved": True}),
        ]
        for action, content in steps:
            answer = http.post(f"/v1/work-orders/{order}/{action}", json=content)
            assert answer.status_code == 200, answer.text
        until(lambda: http.get(f"/v1/appeals/{appeal}").json()["status"] == "completed", "the completion")
        until(lambda: http.get(f"/v1/clocks/{order}").status_code == 200, "the clocks")
        until(lambda: listed(http, {}, "/v1/callbacks", "appeal_id", appeal), "the call-back")
        return Case(appeal, order, unit)

    return Scene(make(HERE), make(THERE, token("platform", platform=STRANGER)), mark)


def listed(http: httpx.Client, headers: dict[str, str], path: str, field: str, value: str, **query: Any) -> bool:
    """Whether a list holds an item with this value, on any page."""
    after: str | None = None
    while True:
        answer = http.get(path, params=query | {"limit": 200} | ({"after": after} if after else {}), headers=headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        if any(item[field] == value for item in page["items"]):
            return True
        after = page["next"]
        if after is None:
            return False


SEES_HERE: list[tuple[str, list[str], dict[str, str], bool]] = [
    # who, roles, claims ("unit here" and "unit there" stand for the leads), sees the case here
    ("seat", ["seat"], {}, True),
    ("supervisor", ["supervisor"], {}, True),
    ("leader", ["leader"], {}, True),
    ("auditor", ["auditor"], {}, True),
    ("handler of the lead", ["handler"], {"units": "here"}, True),
    ("handler of another unit", ["handler"], {"units": "there"}, False),
    ("handler without units", ["handler"], {}, False),
    ("seat of the district", ["seat"], {"regions": HERE}, True),
    ("seat of another district", ["seat"], {"regions": THERE}, False),
    ("seat of the city", ["seat"], {"regions": OWN}, True),
    ("seat of the province", ["seat"], {"regions": "460000"}, True),
    ("seat of another province", ["seat"], {"regions": "440000"}, False),
    ("supervisor of the lead", ["supervisor"], {"units": "here"}, True),
    ("supervisor of another unit", ["supervisor"], {"units": "there"}, False),
    ("supervisor of another district", ["supervisor"], {"regions": THERE}, False),
    ("leader of another district", ["leader"], {"regions": THERE}, False),
    ("auditor of another district", ["auditor"], {"regions": THERE}, False),
    ("handler of the lead, other district", ["handler"], {"units": "here", "regions": THERE}, False),
    ("handler there who is auditor there", ["handler", "auditor"], {"units": "there"}, False),
]


@pytest.fixture(params=SEES_HERE, ids=[row[0] for row in SEES_HERE])
def viewer(request: pytest.FixtureRequest, scene: Scene, token: Token) -> tuple[list[str], dict[str, str], bool]:
    """(roles, headers, whether the case here is his to see)"""
    _, roles, claims, sees = request.param
    units = {"here": scene.here.unit, "there": scene.there.unit}
    given = {name: [units.get(value, value)] for name, value in claims.items()}
    return roles, token(*roles, **given), sees


def may(roles: list[str], operation: str) -> bool:
    return not set(roles).isdisjoint(MAY[operation].split())


def test_rows_outside_the_scope_are_404_and_in_no_list(
    http: httpx.Client, scene: Scene, viewer: tuple[list[str], dict[str, str], bool]
) -> None:
    roles, headers, sees = viewer
    expected = 200 if sees else 404
    appeal, order = scene.here.appeal, scene.here.order
    for path in (
        f"/v1/appeals/{appeal}",
        f"/v1/appeals/{appeal}/timeline",
        f"/v1/work-orders/{order}",
        f"/v1/clocks/{order}",
    ):
        assert http.get(path, headers=headers).status_code == expected, path
    assert listed(http, headers, "/v1/appeals", "id", appeal, q=scene.mark) is sees
    assert listed(http, headers, "/v1/appeals", "id", appeal, unit=scene.here.unit) is sees
    assert listed(http, headers, "/v1/work-orders", "id", order, unit=scene.here.unit) is sees
    assert listed(http, headers, "/v1/lamps", "work_order_id", order, unit=scene.here.unit) is sees
    if may(roles, "GET /v1/callbacks"):
        assert listed(http, headers, "/v1/callbacks", "appeal_id", appeal) is sees


def test_writes_outside_the_scope_are_404_and_change_nothing(
    http: httpx.Client, scene: Scene, viewer: tuple[list[str], dict[str, str], bool]
) -> None:
    roles, headers, sees = viewer
    if sees:
        return
    appeal, order = scene.here.appeal, scene.here.order
    before = http.get(f"/v1/work-orders/{order}").json()
    tried: dict[str, dict[str, Any]] = {
        "POST /v1/appeals/{appeal_id}/withdraw": {},
        "POST /v1/appeals/{appeal_id}/decline": {"reason": "不受理"},
        "POST /v1/appeals/{appeal_id}/link": {"to": scene.there.appeal, "relation": "repeat"},
        "POST /v1/appeals/{appeal_id}/unlink": {},
        "POST /v1/appeals/{appeal_id}/unmask": {"field": "phone", "reason": "联系"},
        "POST /v1/work-orders/{order_id}/progress": {"note": "x"},
        "POST /v1/work-orders/{order_id}/transfer": {"lead": scene.there.unit, "reason": "x"},
        "POST /v1/callbacks/{appeal_id}/attempts": {"outcome": "reached", "contacted": True, "solved": True},
        "POST /v1/callbacks/{appeal_id}/decision": {"reason": "x"},
        "POST /v1/callbacks/{appeal_id}/false-completions/{round}/decision": {"confirmed": True, "reason": "x"},
        "POST /v1/callbacks/{appeal_id}/false-completions/{round}/review": {"reason": "x"},
        "POST /v1/callbacks/{appeal_id}/false-completions/{round}/review/decision": {"confirmed": True, "reason": "x"},
        "POST /v1/exclusions": {"appeal_id": appeal, "reason": "x"},
    }
    for operation, body in tried.items():
        ids = {"appeal_id": appeal, "order_id": order, "round": "1"}
        path = operation.removeprefix("POST ").format_map(ids)
        answer = http.post(path, json=body, headers=headers)
        assert answer.status_code == (404 if may(roles, operation) else 403), f"{operation}: {answer.text}"
    assert http.get(f"/v1/work-orders/{order}").json()["version"] == before["version"]


def test_a_review_of_another_district_is_404(http: httpx.Client, scene: Scene, token: Token) -> None:
    decision = {"matter": "01010101"}
    elsewhere = token("seat", regions=[THERE])
    assert http.post(f"/v1/reviews/{scene.here.appeal}", json=decision, headers=elsewhere).status_code == 404


def test_reviews_are_the_work_of_the_centre_not_of_a_unit(http: httpx.Client, scene: Scene, token: Token) -> None:
    of_a_unit = token("supervisor", units=["u2"])
    assert http.get("/v1/reviews", headers=of_a_unit).json() == {"items": [], "next": None}
    refused = http.post(f"/v1/reviews/{scene.here.appeal}", json={"matter": "01010101"}, headers=of_a_unit)
    assert refused.status_code == 404


def test_a_platform_sees_what_it_sent_and_nothing_else(http: httpx.Client, scene: Scene, token: Token) -> None:
    sender, other = token("platform", platform=STRANGER), token("platform", platform="460200")
    nameless = token("platform")
    for headers, sees in ((sender, True), (other, False), (nameless, False)):
        for path in (f"/v1/appeals/{scene.there.appeal}", f"/v1/appeals/{scene.there.appeal}/timeline"):
            assert http.get(path, headers=headers).status_code == (200 if sees else 404)
        assert listed(http, headers, "/v1/appeals", "id", scene.there.appeal) is sees
        assert http.get(f"/v1/appeals/{scene.here.appeal}", headers=headers).status_code == 404
        assert not listed(http, headers, "/v1/appeals", "id", scene.here.appeal)
        refused = http.post(f"/v1/appeals/{scene.here.appeal}/withdraw", json={}, headers=headers)
        assert refused.status_code == 404
        assert http.get(f"/v1/work-orders/{scene.there.order}", headers=headers).status_code == 403
    body = {"channel": "platform", "text": "路灯不亮", "source_platform": OWN}
    assert http.post("/v1/appeals", json=body, headers=sender).status_code == 403


def test_the_feed_shows_platforms_and_people_their_regions(http: httpx.Client, scene: Scene, token: Token) -> None:
    for whole in (token("auditor"), token("leader"), token("platform", platform=OWN)):
        assert http.get("/v1/events", params={"limit": 1}, headers=whole).status_code == 200
    above = token("platform", platform="460000")  # the province, above our city
    assert http.get("/v1/events", params={"limit": 1}, headers=above).status_code == 200
    for limited in (token("platform", platform=STRANGER), token("platform"), token("auditor", units=["nobody"])):
        for path in ("/v1/events", "/v1/events/counts"):
            answer = http.get(path, headers=limited)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    for local in (token("leader", regions=[THERE]), token("platform", platform=THERE)):
        assert http.get("/v1/events/counts", headers=local).status_code == 403
        subjects, after = set(), ""
        while True:
            query = {"after": after, "limit": "1000", "types": "appeal.received"}
            page = http.get("/v1/events", params=query, headers=local).json()
            subjects |= {event["subject"] for event in page["items"]}
            if page["next"] is None:
                break
            after = page["next"]
        assert scene.there.appeal in subjects
        assert scene.here.appeal not in subjects


def test_rates_are_shown_for_the_own_units_and_regions(http: httpx.Client, scene: Scene, token: Token) -> None:
    """Needs feedback that closed: the citizens of both cases are reached."""
    clock = http.get("/v1/clock").json()["now"]
    http.post("/v1/clock", json={"advance_s": seconds_to_ten(clock)})
    for case in (scene.here, scene.there):
        attempt = {"outcome": "reached", "contacted": True, "solved": True, "satisfaction": 5}
        answer = http.post(f"/v1/callbacks/{case.appeal}/attempts", json=attempt)
        assert answer.status_code == 200, answer.text
    period = http.get("/v1/clock").json()["now"][:7]
    path = f"/v1/evaluations/{period}"
    until(lambda: listed(http, {}, path, "id", scene.there.unit), "the rates")
    for headers, here, there in (
        (token("leader"), True, True),
        (token("leader", regions=[HERE]), True, False),
        (token("supervisor", units=[scene.here.unit]), True, False),
        (token("handler", units=[scene.there.unit]), False, True),
        (token("handler"), False, False),
    ):
        for place in (path, f"/v1/rankings/{period}"):
            assert listed(http, headers, place, "id", scene.here.unit) is here
            assert listed(http, headers, place, "id", scene.there.unit) is there
    exclusion = http.post("/v1/exclusions", json={"appeal_id": scene.here.appeal, "reason": "与本单位无关"})
    assert exclusion.status_code == 201, exclusion.text
    number = exclusion.json()["id"]
    for headers, sees in (
        (token("leader"), True),
        (token("leader", regions=[HERE]), True),
        (token("leader", regions=[THERE]), False),
        (token("handler", units=[scene.here.unit]), True),
        (token("handler", units=[scene.there.unit]), False),
        (token("handler"), False),
        (token("auditor"), True),
    ):
        assert listed(http, headers, "/v1/exclusions", "id", number) is sees
    verdict = {"granted": True, "reason": "属实"}
    elsewhere = token("leader", regions=[THERE])
    assert http.post(f"/v1/exclusions/{number}/decision", json=verdict, headers=elsewhere).status_code == 404
    assert http.post(f"/v1/exclusions/{number}/decision", json=verdict, headers=token("leader")).status_code == 200


def seconds_to_ten(now: str) -> int:
    """From an instant of the platform's zone to its next 10:00, when citizens may be called."""
    hour, minute = int(now[11:13]), int(now[14:16])
    if 9 <= hour < 20:
        return 0
    return ((10 - hour) % 24 * 60 - minute) * 60
