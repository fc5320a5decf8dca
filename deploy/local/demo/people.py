"""The people of the demo: citizens, handlers of units, the centre. Staff have tokens of their role and unit."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.regions import load

SENTENCES = Path(__file__).with_name("sentences.txt")
TOKEN_TTL_S = 86_400
LINK_CHANNELS = ("web", "app", "wechat", "mini_program")
"""Channels whose citizens rate by link; those who phone are called back."""


def sentences() -> list[str]:
    """The demo's templates, each with the field {place}."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def places(platform: str) -> list[tuple[str, str]]:
    """(region code, name) of the townships of the platform's districts."""
    regions = load()
    found = []
    for district in regions.children(platform):
        for township in regions.children(district.code) or (district,):
            name = township.name if township is district else f"{district.name}{township.name}"
            found.append((township.code, name))
    home = regions.get(platform)
    return found or [(platform, home.name if home else "市区")]


@dataclass(frozen=True)
class Posted:
    """An appeal that the demo has posted."""

    id: str
    reference_no: str
    query_code: str


class Gone(Exception):
    """The hub did not do what the story needs; the story is given up."""


class People:
    """Speaks to the hub for citizens and staff. `client` carries the admin token, which posts and issues theirs."""

    def __init__(self, client: httpx.AsyncClient, platform: str) -> None:
        self.client = client
        self._sentences = sentences()
        self._places = places(platform)
        self._tokens: dict[tuple[str, ...], str] = {}
        self._number = random.randrange(10_000)

    def place(self) -> tuple[str, str]:
        """(region code, name) somewhere in the platform."""
        return random.choice(self._places)

    def sentence(self, containing: str = "") -> tuple[str, str]:
        """(region code, text) of a random citizen; `containing` picks the subject."""
        code, name = self.place()
        fitting = [line for line in self._sentences if containing in line] or self._sentences
        return code, random.choice(fitting).format(place=name)

    async def post(
        self,
        text: str,
        region: str,
        *,
        channel: str | None = None,
        emergency_action: dict[str, str] | None = None,
    ) -> Posted:
        """A citizen's appeal. Phone numbers are of a range that belongs to nobody."""
        self._number += 1
        body: dict[str, Any] = {
            "channel": channel or random.choice((*LINK_CHANNELS, "phone")),
            "text": text,
            "location": {"region_code": region},
            "reporter": {"name": "演示市民", "phone": f"100{self._number % 100_000_000:08d}"},
        }
        if emergency_action is not None:
            body["emergency_action"] = emergency_action
        told = await self._call("POST", "/v1/appeals", body)
        return Posted(told["id"], told["reference_no"], told["query_code"])

    async def appeal(self, posted: Posted) -> dict[str, Any]:
        """The case as the centre sees it."""
        return await self._call("GET", f"/v1/appeals/{posted.id}", token=await self._centre())

    async def order(self, order_id: str) -> dict[str, Any]:
        """A work order as the centre sees it."""
        return await self._call("GET", f"/v1/work-orders/{order_id}", token=await self._centre())

    async def handle(self, order: dict[str, Any], action: str, **body: Any) -> dict[str, Any]:
        """An action of the order's present lead unit; returns the order after it."""
        handler = await self._token("handler", unit=order["lead"])
        return await self._call("POST", f"/v1/work-orders/{order['id']}/{action}", body, token=handler)

    async def review(self, posted: Posted) -> None:
        """A reviewer confirms the model's first candidate."""
        centre = await self._centre()
        waiting = await self._call("GET", "/v1/reviews?limit=200", token=centre)
        for item in waiting["items"]:
            if item.get("appeal_id") == posted.id:
                matter = item["candidates"][0]["code"] if item.get("candidates") else item["matter"]["code"]
                await self._call("POST", f"/v1/reviews/{posted.id}", {"matter": matter}, token=centre)
                return
        raise Gone(f"{posted.reference_no} waits for no review")

    async def rule(self, order: dict[str, Any], lead: str) -> dict[str, Any]:
        """The centre's binding decision on a dispute."""
        body = {"lead": lead, "scope": "case", "reason": "经现场核实，按属地与职责由该单位主办"}
        return await self._call("POST", f"/v1/disputes/{order['dispute_id']}/ruling", body, token=await self._centre())

    async def rate(self, posted: Posted, *, solved: bool, satisfaction: int) -> bool:
        """The citizen rates by the link of the tracking page; False while no rating is open."""
        query = f"reference_no={posted.reference_no}&query_code={posted.query_code}"
        url = (await self._call("GET", f"/v1/track?{query}")).get("rating_url")
        if not url:
            return False
        answer = {"contacted": True, "solved": solved, "satisfaction": satisfaction}
        await self._call("POST", "/v1/ratings/" + str(url).rstrip("/").rsplit("/", 1)[1], answer)
        return True

    async def call_back(self, posted: Posted, *, satisfaction: int) -> None:
        """A seat reaches the citizen by phone."""
        answer = {"outcome": "reached", "contacted": True, "solved": True, "satisfaction": satisfaction}
        await self._call("POST", f"/v1/callbacks/{posted.id}/attempts", answer, token=await self._centre())

    async def _centre(self) -> str:
        return await self._token("seat", "supervisor")

    async def _token(self, *roles: str, unit: str | None = None) -> str:
        key = (*roles, unit or "")
        if key not in self._tokens:
            body: dict[str, Any] = {"sub": "demo-" + (unit or "centre"), "roles": list(roles), "ttl_s": TOKEN_TTL_S}
            if unit:
                body["units"] = [unit]
            self._tokens[key] = (await self._call("POST", "/v1/tokens", body))["token"]
        return self._tokens[key]

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            answer = await self.client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Gone(f"{method} {path}: {error!r}") from error
        if answer.status_code == 401:
            self._tokens.clear()  # they live a day; the hub may live longer
        if answer.status_code >= 300:
            raise Gone(f"{method} {path.split('?')[0]}: {answer.status_code} {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told
