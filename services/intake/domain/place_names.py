"""Names of roads, estates and the like in a sentence, as people write them, without what stands before them."""

from __future__ import annotations

import re

_ENDINGS = (
    "大道|横路|小区|花园|大厦|广场|公寓|国际|公馆|家园|新城|新村|学校|小学|中学|幼儿园|医院|市场|酒店|码头|车站|公园"
    "|路|街|巷|村|城|苑|府|园|庭|邸|湾|里"
)
_NAME = re.compile(rf"[\u4e00-\u9fff]{{2,6}}?(?:{_ENDINGS})")
# what may stand before a name in a sentence: the name begins behind the last of them
_BEFORE = re.compile(
    "街道|在|于|的|是|与|和|位于|住|区|镇|县|市|至|到|往|从|靠近|关于|投诉|反映|咨询|建议|有|请|对面|附近|门口|旁边|该|其|我们|这个|某"
)
_LEAST, _MOST = 3, 8


def place_names(text: str) -> set[str]:
    """Names of 3 to 8 characters."""
    names = set()
    for match in _NAME.finditer(text):
        name = _BEFORE.split(match.group())[-1]
        if _LEAST <= len(name) <= _MOST:
            names.add(name)
    return names
