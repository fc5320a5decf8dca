"""Whatever comes in over HTTP, the answer is no 5xx: it names the field and the remedy, and repeats nothing of it."""

import base64
import contextlib
import json
import re
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.bench.stack import TOKEN, Stack

SERVICES = ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal")
PHONE = "13876543210"
DOCUMENT = "460102199003074513"
TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
MB = 1_000_000

Operation = tuple[str, str, dict[str, Any]]
"""(method, path with parameters filled in, the operation of the OpenAPI document with its references resolved)"""


def resolved(node: Any, document: dict[str, Any], depth: int = 0) -> Any:
    """`node` with its references followed (our schemas do not recurse)."""
    if isinstance(node, dict):
        if "$ref" in node and depth < 20:
            target: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return resolved(target, document, depth + 1)
        return {name: resolved(value, document, depth) for name, value in node.items()}
    return [resolved(value, document, depth) for value in node] if isinstance(node, list) else node


def filled(path: str, value: str | None = None) -> str:
    """`path` with an id that nobody has, or `value`, for each parameter."""
    given = value or str(uuid.UUID(int=0x01900000_0000_7000_8000_000000000000))
    if value is None:
        path = path.replace("{version}", "999999").replace("{letter_id}", "999999").replace("{period}", "2026-01")
        path = path.replace("{decision}", "accept")
    return re.sub(r"\{\w+\}", given, path)


@pytest.fixture(scope="module")
def operations(http: httpx.Client) -> list[Operation]:
    """Every operation of every service's OpenAPI document."""
    found = []
    for service in SERVICES:
        document = http.get(f"/ops/{service}/openapi.json").json()
        for path, item in document["paths"].items():
            for method, operation in item.items():
                found.append((method.upper(), path, resolved(operation, document)))
    assert len(found) > 80
    return found


@pytest.fixture(scope="module")
def posts(operations: list[Operation]) -> list[Operation]:
    """Those that a token opens; to the ones between platforms tests/integration/federation sends such bodies signed."""
    return [
        (method, filled(path), operation)
        for method, path, operation in operations
        if method == "POST" and not path.startswith("/v1/handoffs")
    ]


def test_a_repeated_creation_is_documented(operations: list[Operation]) -> None:
    """A write that answers 201 answers 200 to the same Idempotency-Key (api.md)."""
    for method, path, operation in operations:
        keyed = any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", []))
        if keyed and "201" in operation["responses"]:
            assert "200" in operation["responses"], f"{method} {path}"


@pytest.fixture(autouse=True)
def _stays_ready(http: httpx.Client) -> Iterator[None]:
    yield
    answer = http.get("/health/ready")
    assert answer.status_code == 200, answer.text


def harmless(answer: httpx.Response, *, planted: tuple[str, ...] = (PHONE, DOCUMENT)) -> httpx.Response:
    """`answer`, found to be what any answer must be."""
    where = f"{answer.request.method} {answer.request.url!s:.200} → {answer.status_code} {answer.text:.500}"
    assert answer.status_code < 500, where
    assert TRACEPARENT.match(answer.headers.get("traceparent", "")), where
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", where
        problem = answer.json()
        assert {"type", "title", "status", "detail", "code"} <= problem.keys(), where
        assert problem["status"] == answer.status_code, where
        assert problem["detail"], where
        if answer.status_code == 422:
            assert all(error["pointer"].startswith("/") and error["detail"] for error in problem["errors"]), where
        for secret in planted:
            assert secret not in answer.text, where
    return answer


class Findings:
    """What a walk over many operations found: it goes on after the first fault and tells all at the end."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        try:
            yield
        except (AssertionError, httpx.TransportError) as error:
            self.found.append(str(error).partition("\n")[0])


@pytest.fixture
def findings() -> Iterator[Findings]:
    collected = Findings()
    yield collected
    assert not collected.found, "\n".join(collected.found[:100])


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


def post(
    http: httpx.Client, path: str, content: bytes, kind: str = "application/json", **headers: str
) -> httpx.Response:
    return harmless(http.post(path, content=content, headers={"Content-Type": kind} | headers))


# --- bodies ----------------------------------------------------------------------------------------------------------

APPEAL = {"channel": "web", "text": "楼下路灯不亮", "reporter": {"phone": PHONE, "id_number": DOCUMENT}}
LARGE = ("/batch", "/versions", "/mapping", "/routing/impact", "/attachments")
"""take 20 or 32 MB"""
FILES = ("/attachments", "/batch", "/versions", "/mapping", "/import", "/routing/impact")
"""take a file, whatever it says it is, or more than a megabyte"""
HOSTILE_BODIES = {
    "empty": b"",
    "blank": b" \n ",
    "a word": b"hello",
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"text"',
    "true": b"true",
    "cut off": b'{"text": "',
    "10,000 deep lists": b"[" * 10_000 + b"]" * 10_000,
    "10,000 deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "900 deep, with NUL": b'{"value":' + b'{"a":' * 900 + b'"\\u0000"' + b"}" * 901,
    "invalid UTF-8": b'{"text": "\xff\xfe\xc0\xaf", "channel": "web"}',
    "overlong UTF-8": b'{"text": "\xc0\x80"}',
    "UTF-16": json.dumps(APPEAL).encode("utf-16"),
    "GB 18030": '{"text": "路灯"}'.encode("gb18030"),
    "lone surrogate": b'{"text": "\\ud800", "note": "\\udfff", "reason": "\\ud800", "channel": "web"}',
    "NaN": b'{"text": NaN, "limit": NaN, "days": NaN, "ttl_s": NaN}',
    "Infinity": b'{"text": Infinity, "limit": -Infinity, "days": Infinity}',
    "huge exponent": b'{"limit": 1e999, "days": 1e999, "seconds": 1e999, "satisfaction": 1e999, "cap": 1e999}',
    "huge integers": b'{"limit": %d, "days": %d, "seconds": %d}' % ((10**4000,) * 3),
    "byte order mark": b"\xef\xbb\xbf{}",
}


def test_hostile_bodies_are_refused_at_every_door(
    http: httpx.Client, posts: list[Operation], findings: Findings
) -> None:
    for _, path, operation in posts:
        for name, content in HOSTILE_BODIES.items():
            with findings.here():
                answer = post(http, path, content)
                if "requestBody" in operation and name == "cut off" and not path.endswith("/batch"):
                    assert answer.status_code >= 400, f"{path} took a body that was cut off"


def test_a_body_of_20_mb_is_refused_at_every_door(
    http: httpx.Client, posts: list[Operation], findings: Findings
) -> None:
    huge = b'{"text": "' + b"x" * (20 * MB) + b'"}'
    for _, path, _ in posts:
        with findings.here():
            answer = post(http, path, huge)
            if not path.endswith(LARGE):
                assert answer.status_code == 413, f"{path}: {answer.text}"
                assert "1000000 bytes" in answer.json()["detail"]
    for path in ("/v1/appeals/batch", "/v1/catalogue/versions"):
        assert post(http, path, b"x" * (33 * MB), "text/csv").status_code == 413


def test_a_body_sent_in_chunks_is_measured_too(http: httpx.Client, posts: list[Operation], findings: Findings) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(30):
            yield b"x" * 50_000

    for _, path, operation in posts:
        with findings.here():
            answer = harmless(http.post(path, content=chunks(), headers={"Content-Type": "application/json"}))
            # files may be longer, or say in their query what they are
            if "requestBody" in operation and not path.endswith(FILES):
                assert answer.status_code == 413, f"{path}: {answer.text}"


def test_what_was_not_read_of_a_body_is_no_next_request(http: httpx.Client) -> None:
    """A refusal comes when the body is read: else a gateway takes the rest of it for the next request."""
    huge = b"x" * (5 * MB)
    for _ in range(20):
        assert post(http, "/v1/sla/policies", huge).status_code == 413
        assert post(http, "/v1/nothing-here", huge[: MB // 2]).status_code == 404
        assert post(http, "/v1/matters", huge[: MB // 2]).status_code == 405


def test_a_client_that_asks_first_need_not_send(stack: Stack) -> None:
    received = raw(stack, head(JSON, "Content-Length: 20000000", "Expect: 100-continue"), wait_s=20)
    assert received.split(b" ", 2)[1] in (b"413", b"100")  # a gateway may ask for it


def wrong_values(schema: dict[str, Any]) -> Iterator[Any]:
    """Values of another type than `schema` has, and values far beyond any limit."""
    kinds = {part.get("type") for part in schema.get("anyOf", [schema])}
    if "string" in kinds:
        yield from (5, 1.5, True, ["x"], {"x": 1})
    if "integer" in kinds or "number" in kinds:
        yield from ("5", True, [1], 10**30, -(10**30), 1e300, {"x": 1})
    if "boolean" in kinds:
        yield from ("true", 1, [True])
    if "array" in kinds:
        yield from ("x", 5, {"0": "x"}, [[[]]])
    if "object" in kinds:
        yield from ("x", 5, [], [{}])


def test_a_value_of_the_wrong_type_is_named(http: httpx.Client, posts: list[Operation], findings: Findings) -> None:
    tried = 0
    for _, path, operation in posts:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for shape in body.get("anyOf", [body]):
            for name, schema in shape.get("properties", {}).items():
                for value in wrong_values(schema):
                    tried += 1
                    with findings.here():
                        answer = post(http, path, json.dumps({name: value, "other": PHONE}).encode())
                        assert answer.status_code == 422, f"{path} {name}={value!r:.50}: {answer.text}"
                        assert any(p.startswith(f"/{name}") for p in pointers(answer)), f"{path} {name}: {answer.text}"
    assert tried > 300


def test_texts_beyond_any_limit_and_nul_characters_are_named(
    http: httpx.Client, posts: list[Operation], findings: Findings
) -> None:
    for _, path, operation in posts:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for shape in body.get("anyOf", [body]):
            for name, schema in shape.get("properties", {}).items():
                if any(part.get("type") == "string" for part in schema.get("anyOf", [schema])):
                    with findings.here():
                        long = post(http, path, json.dumps({name: "长" * 150_000}, ensure_ascii=False).encode())
                        assert long.status_code == 422, f"{path} {name}: {long.text}"
                    with findings.here():
                        nul = post(http, path, json.dumps({name: "a\x00b"}).encode())
                        assert nul.status_code == 422, f"{path} {name}: {nul.text}"
                        assert pointers(nul) == [f"/{name}"], f"{path} {name}: {nul.text}"


def test_other_content_types_are_told_what_to_send(
    http: httpx.Client, posts: list[Operation], findings: Findings
) -> None:
    for _, path, operation in posts:
        for kind in ("text/xml", "multipart/form-data; boundary=x", "application/octet-stream", "garbage", "a" * 5000):
            with findings.here():
                answer = post(http, path, b"<appeal/>", kind)
                if "requestBody" in operation and not path.endswith(FILES):
                    assert answer.status_code == 415, f"{path}: {answer.text}"
        with findings.here():
            form = http.post(
                path, content=b"a=b&c=%ff%00", headers={"Content-Type": "application/x-www-form-urlencoded"}
            )
            assert form.status_code < 500, f"{path}: {form.text}"  # the citizen's page answers forms with HTML
    told = post(http, "/v1/appeals", b"<appeal/>", "text/xml")
    assert told.status_code == 415
    assert "application/json" in told.json()["detail"]


@pytest.mark.parametrize(
    ("change", "pointer", "remedy"),
    [
        ({"channel": "pigeon"}, "/channel", "phone"),
        ({"text": "长" * 20_001}, "/text", "20000"),
        ({"text": ""}, "/text", "1"),
        ({"text": " \n\t　"}, "/text", "blank"),
        ({"text": 5}, "/text", "string"),
        ({"occurred_at": "yesterday"}, "/occurred_at", "RFC 3339"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "/occurred_at", "timezone"),
        ({"occurred_at": 1_700_000_000}, "/occurred_at", "RFC 3339"),
        ({"occurred_at": "9999-12-31T23:59:59-23:59"}, "/occurred_at", "years"),
        ({"occurred_at": "0001-01-01T00:00:00+23:59"}, "/occurred_at", "years"),
        ({"location": {"lon": "110.3", "lat": 20}}, "/location/lon", "number"),
        ({"location": {"lon": 200, "lat": 20}}, "/location/lon", "180"),
        ({"location": {"region_code": "000000"}}, "/location/region_code", "GB/T 2260"),
        ({"reporter": {"groups": ["king"]}}, "/reporter/groups/0", "elderly"),
        ({"reporter": {"phone": "call me"}}, "/reporter/phone", "digits"),
        ({"reporter": {"phone": int(PHONE)}}, "/reporter/phone", "string"),
        ({"external_id": "x" * 201}, "/external_id", "200"),
        ({"external_id": "a\nb"}, "/external_id", ""),
        ({"source_platform": "../etc"}, "/source_platform", ""),
        ({"attachments": [PHONE] * 21}, "/attachments", "20"),
    ],
)
def test_a_faulty_appeal_hears_which_field_and_what_to_do(
    http: httpx.Client, change: dict[str, Any], pointer: str, remedy: str
) -> None:
    answer = post(http, "/v1/appeals", json.dumps(APPEAL | change).encode())
    assert answer.status_code == 422, answer.text
    assert pointers(answer) == [pointer]
    assert remedy in answer.json()["errors"][0]["detail"]


def test_dates_in_the_future_are_refused(http: httpx.Client) -> None:
    now = datetime.fromisoformat(http.get("/v1/clock").json()["now"])
    ahead = (now + timedelta(days=2)).astimezone(UTC).isoformat()
    happened = post(http, "/v1/appeals", json.dumps(APPEAL | {"occurred_at": ahead}).encode())
    assert (happened.status_code, pointers(happened)) == (422, ["/occurred_at"])
    emergency = {"taken_at": ahead, "by": "巡查队", "what": "先行围挡"}
    taken = post(http, "/v1/appeals", json.dumps(APPEAL | {"emergency_action": emergency}).encode())
    assert (taken.status_code, pointers(taken)) == (422, ["/emergency_action/taken_at"])
    assert "future" in taken.json()["errors"][0]["detail"]
    line = json.dumps(APPEAL | {"occurred_at": ahead}).encode()
    answer = json.loads(post(http, "/v1/appeals/batch", line).text)
    assert (answer["status"], answer["errors"][0]["pointer"]) == (422, "/occurred_at")


def test_of_two_equal_fields_the_last_one_counts_and_nothing_breaks(http: httpx.Client) -> None:
    refused = post(http, "/v1/appeals", b'{"channel": "web", "text": "a", "text": 5}')
    assert pointers(refused) == ["/text"]
    assert post(http, "/v1/appeals", '{"text": 5, "channel": "web", "text": "路灯不亮"}'.encode()).status_code == 201


def test_each_bad_line_of_a_batch_has_its_own_answer(http: httpx.Client) -> None:
    bad = [body.replace(b"\n", b" ") for body in HOSTILE_BODIES.values() if body.strip()]
    good = json.dumps({"channel": "web", "text": "路灯不亮"}).encode()
    answer = post(http, "/v1/appeals/batch", b"\n".join([*bad, b"", good]), "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["line"] for line in lines] == list(range(1, len(bad) + 3))
    assert {line["status"] for line in lines[:-1]} == {422}
    assert lines[-1]["status"] == 201
    too_many = post(http, "/v1/appeals/batch", b"{}\n" * 5_001)
    assert (too_many.status_code, too_many.json()["code"]) == (413, "too_many_lines")


# --- addresses -------------------------------------------------------------------------------------------------------

HOSTILE_IDS = {
    "NUL": "%00",
    "NUL inside": "a%00b",
    "parent": "..%2F..%2Fetc%2Fpasswd",
    "dots": "%2e%2e",
    "10 kB": "a" * 10_000,
    "invalid UTF-8": "%ff%fe",
    "encoded surrogate": "%ed%a0%80",
    "not a UUID": "not-a-uuid",
    "quotes": quote("'; DROP TABLE appeals; --"),
    "wide digits": quote("１２３４"),
    "a huge number": "9" * 400,
    "negative": "-1",
    "braces": quote("{" + str(uuid.UUID(int=1)) + "}"),
    "URN": "urn:uuid:" + str(uuid.UUID(int=1)),
    "percent": "%25",
    "line feed": "a%0d%0aSet-Cookie:x",
    "Chinese": quote("路灯"),
}


def test_hostile_path_parameters_find_nothing(
    http: httpx.Client, operations: list[Operation], findings: Findings
) -> None:
    for method, path, _ in operations:
        if "{" not in path:
            continue
        for value in HOSTILE_IDS.values():
            with findings.here():
                address = filled(path, value)
                answer = harmless(http.request(method, address, json={} if method == "POST" else None))
                assert answer.status_code >= 400, f"{method} {path} {value!r:.40}: {answer.text:.300}"


def hostile_cursors() -> Iterator[str]:
    def cursor(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    yield from ("!!!!", "%ff", "%00", "a" * 10_000, "=", "0", "-1", "9" * 30, quote("游标"))
    foreign: list[Any] = [
        [],
        {},
        5,
        "x",
        None,
        [None],
        [[]],
        [{}],
        ["x"],
        [""],
        [5],
        [-1],
        [1e300],
        [2**62],
        [10**30],
        [True],
        ["a\x00b", "x"],
        ["2026-01-01", "x"],
        ["2026-01-01T00:00:00+00:00", "x"],
        ["2026-01-01T00:00:00+00:00", 5],
        ["0001-01-01T00:00:00+23:59", "x"],
        ["9999-12-31T23:59:59-23:59", str(uuid.UUID(int=1))],
        ["2026-01-01T00:00:00+00:00", "x", 3],
        [str(uuid.UUID(int=1))],
        [1.5, "x"],
    ]
    yield from map(cursor, foreign)


def test_hostile_cursors_are_refused_or_find_nothing(
    http: httpx.Client, operations: list[Operation], findings: Findings
) -> None:
    tried = 0
    for method, path, operation in operations:
        if method == "GET" and any(one["name"] == "after" for one in operation.get("parameters", [])):
            for cursor in hostile_cursors():
                tried += 1
                with findings.here():
                    harmless(http.get(f"{filled(path)}?after={cursor}"))
    assert tried > 300


HOSTILE_VALUES = [
    *("%00", "%ff%fe", "%ed%a0%80", "", "a" * 10_000, "%27%3B--", "%25", "9" * 400, "1e999", "%0d%0a"),
    *(quote("１２"), "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00%2B23:59"),
]


def test_hostile_query_strings_break_nothing(
    http: httpx.Client, operations: list[Operation], findings: Findings
) -> None:
    for method, path, operation in operations:
        if method != "GET":
            continue
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query" and parameter["name"] != "wait_s":
                for value in HOSTILE_VALUES:
                    with findings.here():
                        harmless(http.get(f"{filled(path)}?{parameter['name']}={value}&%c3%28=%c3%28"))


# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "é" * 20,
        "A" * 8_000,
        base64.urlsafe_b64encode(b"[" * 5_000).decode() + ".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=") + ".eyJzdWIiOiJhZG1pbiJ9.",
        base64.urlsafe_b64encode(b'{"alg":["EdDSA"]}').decode().rstrip("=") + ".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":"EdDSA","crit":["x"]}').decode().rstrip("=") + ".e30.e30",
        base64.urlsafe_b64encode(b"\xff\xfe").decode() + ".e30.e30",
        "..",
    ],
)
def test_what_is_no_token_opens_nothing(stack: Stack, token: str) -> None:
    headers = [(b"authorization", b"Bearer " + token.encode())]
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        for path in ("/v1/appeals", "/v1/units", "/v1/events"):
            assert harmless(stranger.get(path, headers=headers)).status_code == 401


@pytest.mark.parametrize("scheme", ["Basic", "bearer bearer", "Digest", "Token"])
def test_another_scheme_than_bearer_opens_nothing(stack: Stack, scheme: str) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        answer = stranger.get("/v1/appeals", headers=[(b"authorization", f"{scheme} {TOKEN}".encode())])
        assert answer.status_code == 401


def test_hostile_idempotency_keys_are_refused(http: httpx.Client) -> None:
    body = json.dumps({"channel": "web", "text": "路灯不亮"}).encode()
    for key in (b"", b"a" * 256, b"a" * 10_000, "键".encode(), b"a b", b"\xff"):
        headers = [(b"idempotency-key", key), (b"content-type", b"application/json")]
        for path in ("/v1/appeals", "/v1/appeals/batch"):
            answer = harmless(http.post(path, content=body, headers=headers))
            assert answer.status_code == 422, f"{path} {key!r:.40}: {answer.text}"
            assert "Idempotency-Key" in answer.text
    one = str(uuid.uuid4())
    assert post(http, "/v1/appeals", body, **{"Idempotency-Key": one}).status_code == 201
    assert post(http, "/v1/appeals", body, **{"Idempotency-Key": one}).status_code == 200
    other = post(http, "/v1/appeals", body.replace(b"web", b"app"), **{"Idempotency-Key": one})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_hostile_etags_and_trace_contexts_are_answered(http: httpx.Client) -> None:
    path = filled("/v1/work-orders/{order_id}/accept")
    for value in (b"x", b'"' * 50, b'"99999999999999999999999"', b"W/", b"\xff", b'"-1"', b'"1", "2"', b"a" * 5_000):
        assert harmless(http.post(path, json={}, headers=[(b"if-match", value)])).status_code in (404, 422)
    for value in (b"x", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00", b"\xff" * 55, b"a" * 5_000, b"00-%00-a-01"):
        harmless(http.get("/v1/units?limit=1", headers=[(b"traceparent", value)]))
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert http.get("/v1/units?limit=1", headers={"traceparent": given}).headers["traceparent"][3:35] == given[3:35]


def test_a_wrong_method_hears_all_right_ones(http: httpx.Client, operations: list[Operation]) -> None:
    right: dict[str, set[str]] = {}
    for method, path, _ in operations:
        right.setdefault(path, set()).add(method)
    for path, methods in right.items():
        answer = harmless(http.request("TRACE", filled(path)))
        assert answer.status_code == 405, path
        assert methods == set(answer.headers["allow"].split(", ")), path


# --- the wire --------------------------------------------------------------------------------------------------------


def raw(stack: Stack, request: bytes, *, half_close: bool = False, wait_s: float = 2) -> bytes:
    """What the port answers to exactly these bytes."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=5) as connection:
        connection.settimeout(wait_s)
        with contextlib.suppress(OSError):
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65_536):
                received += chunk
                if b"\r\n\r\n" in received and not half_close:
                    break
        return received


def head(*lines: str, path: str = "/v1/appeals") -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: sushu", f"Authorization: Bearer {TOKEN}", *lines)
    return "\r\n".join((*lines, "", "")).encode("latin-1")


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(JSON, "Content-Length: 20000000") + b"{}",
        head(JSON, "Content-Length: -1") + b"{}",
        head(JSON, "Content-Length: 1e3") + b"{}",
        head(JSON, "Content-Length: " + "9" * 5_000) + b"{}",
        head(JSON, "Content-Length: 2", "Content-Length: 3") + b"{} ",
        head(JSON, "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head(JSON, "Transfer-Encoding: chunked") + b"ZZ\r\n{}\r\n0\r\n\r\n",
        head(JSON, "Transfer-Encoding: chunked") + b"FFFFFFFFFFFFFFFF\r\n{}\r\n",
        head(JSON, "X-Control: a\x01b\x7f", "Content-Length: 2") + b"{}",
        head(JSON, "X-Nul: a\x00b", "Content-Length: 2") + b"{}",
        head(JSON, "Idempotency-Key: a\x01b", "Content-Length: 2") + b"{}",
        head(JSON, "X-Long: " + "a" * 200_000, "Content-Length: 2") + b"{}",
        head(JSON, *(f"X-{n}: a" for n in range(5_000)), "Content-Length: 2") + b"{}",
        head(JSON, "Content-Length: 2", path="/v1/appeals/\xff\xfe") + b"{}",
        head(JSON, "Content-Length: 2", path="/v1/appeals?q=\xff\xfe") + b"{}",
        head(JSON, "Content-Length: 2", path="/v1/../../etc/passwd") + b"{}",
        head(JSON, "Content-Length: 2", path="//v1//appeals") + b"{}",
        head(JSON, "Content-Length: 2", path="*") + b"{}",
        head(JSON, "Content-Length: 2", path="http://other.example/v1/appeals") + b"{}",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
def test_broken_http_never_meets_a_500(stack: Stack, request_bytes: bytes) -> None:
    received = raw(stack, request_bytes)
    if received:  # else the connection was closed or the rest is waited for, which harms nobody
        status = int(received.split(b" ", 2)[1])
        assert 400 <= status < 500 or status == 505, received[:500]


def test_a_body_shorter_than_promised_stores_nothing(stack: Stack, http: httpx.Client) -> None:
    mark = f"短文{uuid.uuid4().hex}"
    body = json.dumps({"channel": "web", "text": mark}).encode()
    raw(stack, head(JSON, f"Content-Length: {len(body) + 50}") + body, half_close=True)
    assert http.get("/v1/appeals", params={"q": mark}).json()["items"] == []


def test_a_body_longer_than_promised_is_cut_and_the_rest_is_no_request(stack: Stack) -> None:
    received = raw(stack, head(JSON, "Content-Length: 5") + b'{"channel": "web", "text": "x"}', half_close=True)
    assert received.split(b" ", 2)[1] in (b"400", b"422", b"499"), "499: the gateway's word for a client that went away"
    assert b" 201 " not in received
