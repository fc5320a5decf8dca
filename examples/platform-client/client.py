"""Two-way exchange with a Sushu hub: sends appeals and takes every event about them, by pulling or by webhook.

    export SUSHU_URL=http://127.0.0.1:8000 SUSHU_TOKEN=…
    python client.py push P-2026-000001 "小区二次供水水箱半年没有清洗，水有异味。"
    python client.py pull                # everything new, then waits for more; Ctrl-C ends it
    python client.py receive 9000        # a webhook receiver; prints what arrives, verified

State is one SQLite file beside it. A real platform keeps the same three things in its own database: the hub's id beside
its own number, the cursor of the feed, the last sequence of each case; the last two in the transaction of what it does.
"""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

store = sqlite3.connect(os.environ.get("CLIENT_STATE", "client.sqlite"), check_same_thread=False, isolation_level=None)
store.executescript(
    "CREATE TABLE IF NOT EXISTS cases (own TEXT PRIMARY KEY, id TEXT, reference_no TEXT);"
    "CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), after TEXT);"
    "CREATE TABLE IF NOT EXISTS mirror (subject TEXT PRIMARY KEY, sequence INTEGER, type TEXT, state TEXT);"
)


def hub() -> httpx.Client:
    headers = {"Authorization": f"Bearer {os.environ['SUSHU_TOKEN']}"}
    return httpx.Client(base_url=os.environ["SUSHU_URL"], headers=headers, timeout=60)


def push(own: str, text: str) -> None:
    """Sent again and again until it is acknowledged; the external id makes that one appeal."""
    body = {"channel": "platform", "external_id": own, "text": text}
    with hub() as http:
        while True:
            try:
                answer = http.post("/v1/appeals", json=body)
            except httpx.TransportError as trouble:
                print(f"{trouble}; again in 2 s", file=sys.stderr)
                time.sleep(2)
                continue
            if answer.status_code not in (429, 503):
                break
            time.sleep(float(answer.headers.get("Retry-After", "2")))
    if answer.status_code not in (200, 201):
        sys.exit(f"{answer.status_code}: {answer.text}")
    case = answer.json()
    store.execute("INSERT OR REPLACE INTO cases VALUES (?, ?, ?)", (own, case["id"], case["reference_no"]))
    print(case["id"], case["reference_no"])


def take(event: dict) -> None:
    """Twice or late changes nothing: of each subject the highest sequence counts, and it holds the whole state."""
    state = json.dumps(event["data"].get("after"), ensure_ascii=False)
    changed = store.execute(
        "INSERT INTO mirror VALUES (?, ?, ?, ?) ON CONFLICT (subject) DO UPDATE SET sequence = excluded.sequence,"
        " type = excluded.type, state = excluded.state WHERE excluded.sequence > sequence",
        (event["subject"], int(event["sequence"]), event["type"], state),
    ).rowcount
    if changed:
        print(event["time"], event["type"], event["subject"])


def pull(forever: bool = True) -> None:
    """The feed from where it stopped; cursor and effects are one transaction."""
    found = store.execute("SELECT after FROM cursor").fetchone()
    after = found[0] if found else ""
    with hub() as http:
        while True:
            page = http.get("/v1/events", params={"after": after, "limit": 500, "wait_s": 20 if forever else 0})
            page.raise_for_status()
            store.execute("BEGIN")
            for event in page.json()["items"]:
                take(event)
            after = page.json()["next"] or after
            store.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (after,))
            store.execute("COMMIT")
            if page.json()["next"] is None and not forever:
                return


class Receiver(BaseHTTPRequestHandler):
    """`whsec_…` of POST /v1/webhooks is expected in SUSHU_WEBHOOK_SECRET."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stamp, own = self.headers["webhook-timestamp"], self.headers["webhook-id"]
        key = base64.b64decode(os.environ["SUSHU_WEBHOOK_SECRET"].removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.digest(key, f"{own}.{stamp}.".encode() + body, hashlib.sha256)).decode()
        given = self.headers["webhook-signature"].split()
        good = abs(time.time() - int(stamp)) < 300 and any(hmac.compare_digest(wanted, one) for one in given)
        if good:
            events = json.loads(body)
            for event in events if isinstance(events, list) else [events]:
                take(event)
        self.send_response(204 if good else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["push", own, text]:
            push(own, text)
        case ["pull", *how]:
            pull(forever="once" not in how)
        case ["receive", port]:
            ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver).serve_forever()
        case _:
            sys.exit(__doc__)
