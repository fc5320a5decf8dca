"""The citizen's page of a rating: plain HTML for old phones, without JavaScript, cookies or outside files."""

from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qs

from services.feedback.domain import Round
from shared.clock import ZONE
from shared.errors import Problem

MOST_WORDS = 1_000

_Choices = Mapping[str, tuple[object, str]]
"""value in the form → what it means, and its words"""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
}

_FRAME = """<!DOCTYPE html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 18px/1.6 sans-serif; max-width: 34em; margin: 0 auto; padding: 1em; color: #1a1a1a; background: #fff }}
h1 {{ font-size: 1.3em }}
fieldset {{ border: 1px solid #767676; border-radius: 6px; margin: 0 0 1em; padding: .6em 1em }}
legend {{ font-weight: bold }}
label {{ display: block; padding: .35em 0 }}
input[type=radio] {{ width: 1.2em; height: 1.2em; vertical-align: middle }}
textarea {{ width: 100%; box-sizing: border-box; font: inherit }}
button {{ font: inherit; width: 100%; padding: .7em; color: #fff; background: #1457a8; border: 0; border-radius: 6px }}
button:focus, input:focus, textarea:focus {{ outline: 3px solid #f5a623 }}
.missing {{ color: #b00020; font-weight: bold }}
.box {{ background: #f2f5f9; padding: .6em 1em; border-radius: 6px }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

_CONTACTED: _Choices = {"yes": (True, "联系过"), "no": (False, "没有联系")}
_SOLVED: _Choices = {"yes": (True, "已解决"), "no": (False, "未解决")}
_SATISFACTION: _Choices = {
    str(value): (value, words)
    for value, words in zip((5, 4, 3, 2, 1), ("非常满意", "满意", "基本满意", "不满意", "非常不满意"), strict=True)
}


def form(asked: Round, given: Mapping[str, object] | None = None) -> str:
    """The three questions about one completion; `given`: what was filled in already, when something was missing."""
    completion = asked.completion
    until = f"{asked.expires_at.astimezone(ZONE):%Y年%m月%d日 %H:%M}" if asked.expires_at else ""
    about = f"办理单位：{escape(completion.unit_name or completion.unit)}"
    if completion.matter_name:
        about += f"<br>事项：{escape(completion.matter_name)}"
    if completion.result:
        about += f"<br>答复：{escape(completion.result)}"
    words = str((given or {}).get("words", ""))
    long = '<p class="missing">补充说明不超过 1000 字。</p>' if len(words) > MOST_WORDS else ""
    told = '<p class="missing" role="alert">还没有填写完整，请看标出的地方。</p>' if given is not None else ""
    body = f"""<h1>请您评价这次办理</h1>
<p class="box">{about}</p>
{told}
<form method="post">
{_question("contacted", "1. 办理单位是否联系过您？", _CONTACTED, given)}
{_question("solved", "2. 您反映的问题是否解决？", _SOLVED, given)}
{_question("satisfaction", "3. 您对办理结果满意吗？", _SATISFACTION, given)}
<fieldset><legend>还想说的话（可不填）</legend>{long}
<label for="words">请不要填写电话、身份证号等个人信息。</label>
<textarea id="words" name="words" rows="4" maxlength="{MOST_WORDS}">{escape(words)}</textarea></fieldset>
<button type="submit">提交评价</button>
</form>
<p>本链接只能评价一次，{until}前有效。</p>"""
    return _FRAME.format(title="12345 办理评价", body=body)


def thanks() -> str:
    """After the answer."""
    return notice(
        "谢谢您的评价", "您的评价已经收到。如果问题没有解决，我们会要求办理单位再次办理，并再次征求您的意见。"
    )


def notice(title: str, words: str) -> str:
    """One message."""
    return _FRAME.format(title=escape(title), body=f"<h1>{escape(title)}</h1>\n<p>{escape(words)}</p>")


def refusal(problem: Problem) -> str:
    """Why the link does not work, in plain words."""
    words = {
        "rating_used": ("您已经评价过了", "每个链接只能评价一次。谢谢您的参与。"),
        "rating_closed": ("评价已经结束", "这个链接已过有效期。如果问题没有解决，请再次拨打 12345。"),
        "not_found": ("链接无效", "请检查链接是否完整，或拨打 12345 询问。"),
        "rating_unknown": ("链接无效", "请检查链接是否完整，或拨打 12345 询问。"),
        "too_many_requests": ("访问太频繁", "请稍候几分钟再试。"),
    }
    return notice(*words.get(problem.code, ("暂时无法评价", "请稍后再试，或拨打 12345。")))


def parse(raw: bytes) -> dict[str, object]:
    """The fields of a posted form as the JSON body would have them; what is missing or no choice stays out."""
    try:
        posted = parse_qs(raw.decode("utf-8", "replace"), max_num_fields=20)
    except ValueError:  # not our form
        posted = {}
    fields = {name: values[-1] for name, values in posted.items()}
    body: dict[str, object] = {}
    for name, choices in (("contacted", _CONTACTED), ("solved", _SOLVED), ("satisfaction", _SATISFACTION)):
        if fields.get(name) in choices:
            body[name] = choices[fields[name]][0]
    if words := fields.get("words", "").replace("\x00", "").strip():
        body["words"] = words
    return body


def _question(name: str, question: str, choices: _Choices, given: Mapping[str, object] | None) -> str:
    chosen = None if given is None else given.get(name)
    missing = '<p class="missing">请选择一项。</p>' if given is not None and chosen is None else ""
    options = "".join(
        f'<label><input type="radio" name="{name}" value="{value}" required'
        f"{' checked' if chosen == meant else ''}> {words}</label>"
        for value, (meant, words) in choices.items()
    )
    return f"<fieldset><legend>{question}</legend>{missing}{options}</fieldset>"
