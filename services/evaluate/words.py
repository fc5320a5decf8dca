"""What rates, counts and levels are called where people read them."""

from typing import Final

from services.evaluate.domain import Level

RATE_NAMES: Final = {
    "response": "响应率",
    "solution": "解决率",
    "satisfaction": "满意率",
    "second_handling": "二次办理率",
    "on_time": "按时办结率",
    "return": "退单率",
    "repeat": "重复诉求率",
    "tag_coverage": "标签覆盖率",
    "tag_accuracy": "标签准确率",
}
COUNT_NAMES: Final = {
    "closed": "反馈办结",
    "asked": "已问到",
    "contacted": "已联系",
    "solved": "已解决",
    "answered": "已打分",
    "satisfied": "满意",
    "second_handled": "二次办理",
    "excluded": "剔除",
    "false_completions_suspected": "疑似虚假办结",
    "false_completions": "虚假办结",
    "completed": "办结工单",
    "late": "超期",
    "dispatched": "派单",
    "returned": "退单",
    "shirked": "推诿",
    "repeats": "重复诉求",
    "tagged": "有标签",
    "tags_judged": "经复核标签",
    "tags_right": "准确标签",
}
LEVEL_NAMES: Final = {
    Level.UNIT: "单位",
    Level.STREET: "街道（乡镇）",
    Level.DISTRICT: "区县",
    Level.CITY: "全市",
    Level.PLATFORM: "各平台",
}


def called(name: str) -> str:
    """A rate or count of a formula in Chinese."""
    return RATE_NAMES.get(name) or COUNT_NAMES.get(name, name)
