"""From words to a region: Aho-Corasick over names, then the deepest chain of places that agree.

Every mention is a piece of evidence with a weight between 0 and 1. A region's score is the chance that at least one of
the mentions naming it or a region above it is right, so 「龙华区海垦街道」 beats 「海垦街道」 beats 「龙华」.
When several places compete, the answer climbs to the region that holds most of the evidence and the rest is kept as
candidates: a wrong district costs a return, an honest city does not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import ahocorasick


@dataclass(frozen=True, slots=True)
class Region:
    """One division. ``level``: 1 province, 2 city, 3 county, 4 township, 5 community. Degrees, or None."""

    code: str
    name: str
    level: int
    parent: str
    lon: float | None = None
    lat: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an appeal belongs.

    ``confidence`` in [0, 1]; 0 means that nothing but the home platform speaks for ``region_code``. ``candidates``: up
    to five (code, score), best first, deeper or other places that were named too.
    """

    region_code: str
    confidence: float
    candidates: tuple[tuple[str, float], ...] = ()


# Evidence of one mention by form and place. Set by reading, checked on real tickets (README.md, Measured).
_FULL_HOME: Final = 0.9
_SHORT_COUNTY_HOME: Final = 0.75
_SHORT_TOWN_HOME: Final = 0.45
_FULL_AWAY: Final = 0.7
_SHORT_AWAY: Final = 0.3  # alone it is not believed: 东方 is a direction before it is a city
_PROVINCE: Final = 0.1
_ROAD: Final = 0.3
_LEARNED: Final = 0.6
_CITY: Final = 0.05
_POINT: Final = 0.5
_LATER: Final = 0.7  # a second place is more often the way there than the place itself
_OVERSHADOWED: Final = 0.25  # an away place beside a place at home
_ENOUGH: Final = 0.6  # share of the evidence that lets an answer go one level deeper

_BELIEVED: Final = 0.35  # below, the home platform itself is the honest answer

_KIN: Final = re.compile(
    "(?:各族|汉族|蒙古族|蒙古|回族|藏族|维吾尔族|维吾尔|苗族|彝族|壮族|布依族|朝鲜族|满族|侗族|瑶族|白族|土家族|哈尼族|哈萨克族|哈萨克|傣族|黎族"
    "|傈僳族|佤族|畲族|拉祜族|水族|东乡族|纳西族|景颇族|柯尔克孜族|柯尔克孜|土族|达斡尔族|仫佬族|羌族|布朗族|撒拉族|毛南族|仡佬族|锡伯族|阿昌族"
    "|普米族|塔吉克族|塔吉克|怒族|鄂温克族|德昂族|保安族|裕固族|独龙族|鄂伦春族)+$"
)
_ENDINGS: Final = (
    *("特别行政区", "自治区", "自治州", "自治县", "自治旗", "地区", "林区", "街道", "民族乡", "民族苏木", "苏木"),
    *("省", "市", "盟", "区", "县", "旗", "镇", "乡"),
)
_NOT_A_PLACE_AFTER: Final = ("人", "籍", "户口", "户籍", "牌照", "号牌", "车牌", "的驾驶证")
_ROAD_NAME: Final = re.compile("[东西南北中横新老一二三四五六七八九十]{0,3}(?:路|大道|街|巷|桥|立交|小学|中学)")
_JOURNEY: Final = re.compile("出租车|网约车|公交车|的士|班车|高铁|动车|航班|乘坐|打车|搭乘|上车|下车|开往|拒载")
_QUESTION: Final = re.compile("^(?:关于)?(?:市民)?(?:来电|微信|短信|网上)?(?:咨询|反馈)")
_STORY: Final = (
    0.38  # in a journey or a question a place is named that is not where help is wanted; two that agree count
)
_CHINA: Final = (73.0, 136.0, 3.0, 54.0)
_NEAR_KM: Final = 60.0


def short_name(name: str) -> str:
    """The name people use: 龙华区 → 龙华, 海垦街道 → 海垦, 白沙黎族自治县 → 白沙. Never shorter than two characters."""
    for ending in _ENDINGS:
        if name.endswith(ending):
            stem = name[: -len(ending)]
            bare = _KIN.sub("", stem)
            if len(bare) >= 2:
                return bare
            return stem if len(stem) >= 2 else name
    return name


@dataclass(frozen=True, slots=True)
class _Name:
    """What one string of the lexicon may mean: codes with the weight of this form, and whether a road may bear it."""

    meanings: tuple[tuple[str, float], ...]
    road_like: bool


class PlaceResolver:
    """Resolves texts for one home platform. Building takes some 20 ms, one text some 10 µs per 100 characters."""

    def __init__(
        self,
        regions: Mapping[str, Region],
        ancestors: Callable[[str], tuple[str, ...]],
        home: str,
        *,
        former: Sequence[tuple[str, str]] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        """``former``: (name that a division once had, its present code). ``names``: road, estate → code it lies in."""
        self._former = former
        self._names = names or {}
        self._regions = regions
        self._home = home
        self._above: dict[str, tuple[str, ...]] = {}
        self._ancestors = ancestors
        chain = (home, *ancestors(home))
        self._home_chain = frozenset(chain)
        self._province = chain[-1]
        self._automaton = self._build()
        self._counties = tuple(
            (region.code, region.lon, region.lat)
            for region in regions.values()
            if region.level == 3 and region.lon is not None and region.lat is not None
        )

    def resolve(self, text: str, lon: float | None = None, lat: float | None = None) -> Place:
        evidence = self._mentions(text)
        if _JOURNEY.search(text) or _QUESTION.match(text.lstrip()):
            evidence = [(code, weight * _STORY) for code, weight in evidence]
        if lon is not None and lat is not None:
            near = self._nearest(lon, lat)
            if near is not None:
                evidence.append((near, _POINT))
        leaves = self._scores(evidence)
        if not leaves:
            return Place(self._home, 0.0)
        return self._decide(leaves)

    def _decide(self, leaves: dict[str, float]) -> Place:
        ranked = sorted(leaves.items(), key=lambda item: (-item[1], item[0]))
        candidates = tuple((code, round(score, 3)) for code, score in ranked[:5])
        total = sum(leaves.values())
        code, best = ranked[0]
        for region in (code, *self._chain(code)):
            share = (
                sum(score for leaf, score in leaves.items() if leaf == region or region in self._chain(leaf)) / total
            )
            if share >= _ENOUGH:
                if best * share < _BELIEVED:
                    break
                return Place(region, round(best * share, 3), candidates)
        return Place(self._home, 0.0, candidates)

    def _scores(self, evidence: list[tuple[str, float]]) -> dict[str, float]:
        """Score of each named region that has no deeper named region below it."""
        if not evidence:
            return {}
        best: dict[str, float] = {}
        for code, weight in evidence:
            # the same name twice is one fact, not two
            best[code] = max(best.get(code, 0.0), weight)
        inner = {above for code in best for above in self._chain(code)}
        leaves: dict[str, float] = {}
        for code in best:
            if code in inner:
                continue
            miss = 1.0 - best[code]
            for above in self._chain(code):
                miss *= 1.0 - best.get(above, 0.0)
            leaves[code] = 1.0 - miss
        if any(self._at_home(code) and code != self._home for code in leaves):
            leaves = {code: s if self._at_home(code) else s * _OVERSHADOWED for code, s in leaves.items()}
        return leaves

    def _mentions(self, text: str) -> list[tuple[str, float]]:
        found: list[tuple[_Name, int]] = []
        for end, name in self._automaton.iter_long(text):
            after = text[end + 1 : end + 5]
            if not after.startswith(_NOT_A_PLACE_AFTER):
                found.append((name, end))
        named = {code for name, _ in found for code, _ in name.meanings}
        evidence: list[tuple[str, float]] = []
        firsts = 0
        for name, end in found:
            meanings = self._plausible(name, named)
            road = name.road_like and bool(_ROAD_NAME.match(text, end + 1) or text[end] == "路")
            for code, weight in meanings:
                factor = (_ROAD if road else 1.0) / len(meanings)
                if code not in self._home_chain:
                    factor *= 1.0 if self._continues(code, evidence) or not firsts else _LATER
                    firsts += 1
                evidence.append((code, weight * factor))
        return evidence

    def _continues(self, code: str, evidence: list[tuple[str, float]]) -> bool:
        """Whether the place lies in, or contains, the place named just before."""
        if not evidence:
            return True
        last = evidence[-1][0]
        return last == code or last in self._chain(code) or code in self._chain(last)

    def _plausible(self, name: _Name, named: set[str]) -> tuple[tuple[str, float], ...]:
        """Which namesakes can be meant: those under a region the text names, else at home, else in the province."""
        meanings = self._shallowest(name.meanings)
        if len(meanings) > 1:
            supported = tuple(item for item in meanings if not named.isdisjoint(self._chain(item[0])))
            home = tuple(item for item in supported or meanings if self._at_home(item[0]))
            near = tuple(item for item in meanings if self._province in self._chain(item[0]))
            return home or supported or near
        code = meanings[0][0]
        if self._regions[code].level == 4 and not self._at_home(code) and named.isdisjoint(self._chain(code)):
            return ()
        return meanings

    def _shallowest(self, meanings: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
        """龙华 is the district before it is the township of that name inside the district."""
        codes = {code for code, _ in meanings}
        return tuple(item for item in meanings if codes.isdisjoint(self._chain(item[0])))

    def _at_home(self, code: str) -> bool:
        return code == self._home or self._home in self._chain(code)

    def _chain(self, code: str) -> tuple[str, ...]:
        chain = self._above.get(code)
        if chain is None:
            chain = self._above[code] = self._ancestors(code)
        return chain

    def _nearest(self, lon: float, lat: float) -> str | None:
        """The county whose seat is nearest, inside 60 km; a seat is no border, hence the low weight of a point."""
        west, east, south, north = _CHINA
        if not (west <= lon <= east and south <= lat <= north):
            return None
        shrink = math.cos(math.radians(lat))
        best, best_km = None, _NEAR_KM
        for code, x, y in self._counties:
            if x is None or y is None:
                continue
            km = 111.2 * math.hypot((x - lon) * shrink, y - lat)
            if km < best_km:
                best, best_km = code, km
        return best

    def _build(self) -> ahocorasick.Automaton:
        meanings: dict[str, dict[str, float]] = {}
        road_like: set[str] = set()

        def add(text: str, code: str, weight: float) -> None:
            if len(text) >= 2:
                held = meanings.setdefault(text, {})
                held[code] = max(weight, held.get(code, 0.0))

        for region in self._regions.values():
            code, name, home = region.code, region.name, self._at_home(region.code)
            in_province = self._province in (code, *self._chain(code))
            if "（" in name or (region.level >= 4 and not in_province):
                continue
            if code in self._home_chain or region.level == 1:
                add(name, code, _CITY if code in self._home_chain else _PROVINCE)
                if code in self._home_chain:
                    add(short_name(name), code, _CITY)
                continue
            add(name, code, _FULL_HOME if home else _FULL_AWAY)
            short = short_name(name)
            if name.endswith("街道"):
                stem = name[:-2]
                for bare in {stem, stem + "路", stem.removesuffix("路")}:
                    for ending in ("街道", "街道办事处", "街道办", "街办"):
                        add(bare + ending, code, _FULL_HOME if home else _FULL_AWAY)
            if short == name:
                continue
            if home:
                add(short, code, _SHORT_COUNTY_HOME if region.level == 3 else _SHORT_TOWN_HOME)
                road_like.add(short)
            elif region.level == 2 or (region.level == 3 and in_province):
                add(short, code, _SHORT_AWAY)
                road_like.add(short)
        for name, code in self._former:
            if code in self._regions:
                add(name, code, _FULL_HOME if self._at_home(code) else _FULL_AWAY)
        for name, code in self._names.items():
            if code in self._regions and self._at_home(code) and name not in meanings:
                add(name, code, _LEARNED)
        automaton = ahocorasick.Automaton()
        for text, held in meanings.items():
            automaton.add_word(text, _Name(tuple(sorted(held.items())), text in road_like))
        automaton.make_automaton()
        return automaton
