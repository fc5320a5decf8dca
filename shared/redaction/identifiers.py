"""Plates, e-mail addresses, accounts named as such, passports and permits."""

from __future__ import annotations

import re
from typing import Final

from shared.redaction.scan import Span

# GA 36: province, office letter, then five characters (six for new energy); I and O are not used
_PLATE: Final = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领][ ]?[A-HJ-NP-Za-hj-np-z]"
    r"[ .\-]{0,2}(?:[A-HJ-NP-Za-hj-np-z0-9][ ]?){4,5}(?:[A-HJ-NP-Za-hj-np-z0-9](?![A-Za-z0-9])|[挂学警港澳领使试超])"
)
_ARMED_POLICE: Final = re.compile(
    r"(?<![A-Za-z])WJ[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]?[0-9]{4,5}[0-9A-Z]?(?![0-9])"
)
_NOT_ALNUM: Final = re.compile(r"[^0-9A-Za-z\u4e00-\u9fff]")
_LOCAL: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62})(?:\.[A-Za-z0-9\-]{1,63}){1,5}")
_ACCOUNT: Final = re.compile(
    r"(?:微信|威信|薇信|V信|v信|vx|VX|Vx|wechat|WeChat|weixin|QQ|qq|Qq|扣扣|抖音|支付宝|微博)"
    r"(?:账号|帐号|号码|群号|群|号|ID|id|名|是|为|[:： (（])*"
    r"([A-Za-z][A-Za-z0-9_\-]{5,19}|[0-9]{6,12})(?![0-9])"
)
_DOCUMENT: Final = re.compile(
    r"(?:护照|通行证|台胞证|回乡证|居留证|居住证|军官证|士兵证|残疾证|驾驶证|行驶证|社保卡|医保卡|证件|身份证|passport|Passport)"
    r"(?:档案|编号|证号|卡号|号码|号|是|为|[:： (（])*"
    r"([A-Za-z]{0,2}[0-9][0-9A-Za-z]{5,19})(?![0-9A-Za-z])"
)
_LONGEST_LOCAL: Final = 64


def find_plates(text: str) -> list[Span]:
    """Civil plates of all kinds; a plate has a digit and is one character longer for new energy."""
    spans = []
    for match in _PLATE.finditer(text):
        body = _NOT_ALNUM.sub("", match.group())
        if 6 <= len(body) <= 9 and any(char.isdigit() for char in body[2:]):
            end = match.end()
            spans.append(Span(match.start(), end - (text[end - 1] == " "), "plate"))
    if "WJ" in text:
        spans += [Span(*match.span(), "plate") for match in _ARMED_POLICE.finditer(text)]
    return spans


def find_emails(text: str) -> list[Span]:
    """Found outward from each ``@``, so that a long text without one costs nothing."""
    spans = []
    at = text.find("@")
    while at >= 0:
        start = at
        while start > 0 and at - start < _LONGEST_LOCAL and text[start - 1] in _LOCAL:
            start -= 1
        host = _HOST.match(text, at + 1, at + 256)
        if start < at and host:
            spans.append(Span(start, host.end(), "email"))
        at = text.find("@", at + 1)
    return spans


def find_accounts(text: str) -> list[Span]:
    """Accounts of chat services, only where the service is named; the name itself stays."""
    return [Span(*match.span(1), "account") for match in _ACCOUNT.finditer(text)]


def find_documents(text: str) -> list[Span]:
    """Numbers of passports, permits and cards, only where the document is named."""
    return [Span(*match.span(1), "document") for match in _DOCUMENT.finditer(text)]
