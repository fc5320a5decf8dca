"""Codes in plain Chinese: channels, classes, clocks, reasons, and who did something."""

from typing import Final

CHANNELS: Final = {
    "phone": "电话",
    "web": "网站",
    "app": "手机应用",
    "wechat": "微信",
    "mini_program": "小程序",
    "sms": "短信",
    "email": "电子邮件",
    "letter": "来信",
    "sign_video": "手语视频",
    "grid": "网格员上报",
    "iot": "物联感知",
    "platform": "其他平台转来",
    "open311": "开放接口",
}
CLASSES: Final = {"urgent": "紧急", "livelihood": "民生", "general": "一般", "complex": "疑难"}
CLOCKS: Final = {
    "accept": "签收",
    "first_contact": "首次联系",
    "complete": "办结",
    "callback": "回访",
    "review": "复核",
    "ruling": "裁定",
    "rating": "评价",
    "handoff": "移交回执",
}
RETURN_REASONS: Final = {
    "not_my_duty": "不属本单位职责",
    "not_my_territory": "不在本单位辖区",
    "duplicate": "重复派单",
    "insufficient_info": "信息不全",
    "other": "其他原因",
}
DISPATCH_CAUSES: Final = {
    "routing": "按派单规则",
    "review": "经人工核对",
    "return": "退单后重新",
    "ruling": "按裁定结果",
    "transfer": "由中心改派，",
}
ATTEMPTS: Final = {"reached": "已接通", "no_answer": "无人接听", "refused": "市民不愿评价"}
OUTCOMES: Final = {
    "answered": "市民已评价",
    "refused": "市民不愿评价",
    "unreachable": "多次未能联系到市民",
    "expired": "评价链接过期未答",
    "withdrawn": "诉求已撤回",
    "declined": "诉求不予受理",
    "cancelled": "工单已取消",
    "order_closed": "工单已由中心关闭",
}
LEVELS: Final = {1: "一级", 2: "二级", 3: "三级"}
SYSTEMS: Final = {
    "intake": "受理",
    "classify": "分类",
    "dispatch": "派单",
    "sla": "时限",
    "feedback": "回访评价",
}


def role_of(actor: str) -> str:
    """An actor in words: 市民, 承办单位, 工作人员 or 系统; names of people are never shown."""
    kind, _, name = actor.partition(":")
    if kind == "citizen":
        return "市民"
    if kind == "unit":
        return "承办单位"
    if kind == "platform":
        return "其他平台"
    if kind == "system":
        return f"系统（{SYSTEMS[name]}）" if name in SYSTEMS else "系统"
    return "工作人员"
