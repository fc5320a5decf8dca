"""Safety words raise an alarm for a danger that is there, and only for that."""

from __future__ import annotations

import pytest

from services.classify.domain.safety import clause, hazards, safety_hits
from tests.unit.classify.safety_sentences import GUARDED, GUARDED_LATER, PRESENT, PRESENT_LATER


@pytest.mark.parametrize(
    "text",
    [
        "楼道里有很浓的煤气味",
        "厨房燃气管漏气，滋滋响",
        "上次修过的燃气管今天又漏气了",
        "小区燃气泄漏，物业没有处理",
        "没有人管，家里漏电了",
        "有人被困在电梯里出不来",
        "老房子坍塌了，里面还住着人",
        "有小孩掉进河里了",
        "朋友发信息说不想活了",
        "楼下电动车棚着火了",
        "有人拿刀追着打人",
        "学校食堂吃完集体呕吐",
        "工人修线时触电昏迷",
    ],
)
def test_a_present_danger_is_heard(text: str) -> None:
    assert safety_hits(text)


@pytest.mark.parametrize(
    "text",
    [
        "已经不漏气了",
        "现在没有漏气",
        "燃气泄漏已经修好了",
        "去年这里发生过火灾，要求赔偿",
        "担心触电，请修一下",
        "请问燃气泄漏报警器哪里买",
        "没有人触电",
        "防止溺水的警示牌坏了",
        "以前有人在这里溺水",
        "建议开展防溺水宣传",
        "上个月触电受伤的赔偿怎么办",
        "跳楼价大甩卖",
        "未发现燃气泄漏",
        "轮胎漏气",
    ],
)
def test_a_denied_past_or_feared_danger_is_not(text: str) -> None:
    assert safety_hits(text) == []


def test_the_guard_on_sentences_that_were_written_for_it() -> None:
    missed = [text for text in (*PRESENT, *PRESENT_LATER) if not safety_hits(text)]
    alarms = [text for text in (*GUARDED, *GUARDED_LATER) if safety_hits(text)]
    assert len(PRESENT) + len(GUARDED) >= 120
    assert missed == []
    assert len(alarms) <= 2, alarms


def test_a_sentence_is_known_by_its_words_alone() -> None:
    (one,), (other,) = (safety_hits(text) for text in ("你好。家里  漏电3次，怕人！谢谢", "家里漏电，怕人"))
    assert clause("你好。家里  漏电3次，怕人！谢谢", one) == "家里漏电次怕人"
    assert clause("家里漏电，怕人", other) == "家里漏电怕人"


def test_a_guarded_word_does_not_hide_a_later_danger() -> None:
    hits = safety_hits("去年触电的事已经处理，但是今天路灯杆又漏电了。")
    assert [hit.word for hit in hits] == ["漏电"]
    assert hazards(hits) == "触电（漏电）"
