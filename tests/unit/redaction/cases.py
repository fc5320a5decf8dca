"""Generated sentences with planted personal data and with look-alikes; own grammar, seeded, valid check digits."""

from __future__ import annotations

import random
from dataclasses import dataclass

SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐"
    "冯董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶余潘杜戴夏钟汪田姜范"
)
GIVEN = "明和平向东有来伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛超霞刚桂兰建华志鹏婷雪琳浩宇欣怡子涵梓萱"
PROVINCES = ("110101", "310115", "460106", "440304", "510104", "330106", "420106", "610113")
AREA = ("010", "021", "0755", "0898", "028", "0731", "0571")
FULL_WIDTH = {ord(str(i)): chr(0xFF10 + i) for i in range(10)}
SPELLED = {ord(str(i)): "零一二三四五六七八九"[i] for i in range(10)}
CHECK, WEIGHTS = "10X98765432", (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


@dataclass(frozen=True)
class Planted:
    text: str
    kind: str
    secret: str  # what must no longer be readable


def mobile(r: random.Random) -> str:
    return "1" + r.choice("3456789") + "".join(r.choices("0123456789", k=9))


def id_number(r: random.Random) -> str:
    body = (
        r.choice(PROVINCES)
        + f"{r.randint(1930, 2012)}{r.randint(1, 12):02d}{r.randint(1, 28):02d}{r.randint(1, 999):03d}"
    )
    return body + CHECK[sum(int(d) * w for d, w in zip(body, WEIGHTS, strict=True)) % 11]


def old_id_number(r: random.Random) -> str:
    return (
        r.choice(PROVINCES) + f"{r.randint(30, 99)}{r.randint(1, 12):02d}{r.randint(1, 28):02d}{r.randint(1, 999):03d}"
    )


def bank_card(r: random.Random) -> str:
    size = r.choice((16, 19))
    body = r.choice(("622202", "621700", "622848", "436742", "520083")) + "".join(r.choices("0123456789", k=size - 7))
    for digit in "0123456789":
        total = 0
        for index, char in enumerate(reversed(body + digit)):
            value = int(char) * (1 + index % 2)
            total += value - 9 if value > 9 else value
        if total % 10 == 0:
            return body + digit
    raise AssertionError("one of ten digits passes")


def split(r: random.Random, number: str, sizes: tuple[int, ...]) -> str:
    separator, parts, position = r.choice((" ", "-", ".", "·", "\u3000", " - ", "—")), [], 0
    for size in sizes:
        parts.append(number[position : position + size])
        position += size
    return separator.join([*parts, number[position:]] if position < len(number) else parts)


def name(r: random.Random) -> str:
    return r.choice(SURNAMES) + "".join(r.choices(GIVEN, k=r.choice((1, 2))))


def plate(r: random.Random) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    head = r.choice("琼京沪粤川浙苏鄂湘") + r.choice(letters)
    if r.random() < 0.4:
        return head + r.choice("DF") + "".join(r.choices("0123456789", k=5))
    return head + r.choice("0123456789") + "".join(r.choices(letters + "0123456789", k=4))


def planted(r: random.Random) -> Planted:
    kind = r.choice(
        "mobile spelled landline service id old_id card plate email account passport title label room door".split()  # noqa: SIM905
    )
    if kind == "mobile":
        number = mobile(r)
        shapes: tuple[str, ...] = (
            number,
            split(r, number, (3, 4, 4)),
            split(r, number, (3, 8)),
            split(r, number, (4, 4, 3)),
        )
        shapes += ("+86" + number, "+86 " + split(r, number, (3, 4, 4)), "86-" + number, number.translate(FULL_WIDTH))
        frame = r.choice(
            (
                "我的电话是{}，请回电。",
                "联系方式：{}",
                "打{}一直打不通",
                "（手机{}）反映路灯不亮",
                "{}这个号码天天骚扰我",
            )
        )
        return Planted(frame.format(r.choice(shapes)), "phone", number)
    if kind == "spelled":
        number = mobile(r)
        mixed = number[:3] + number[3:].translate(SPELLED)
        return Planted(f"请回拨{r.choice((number.translate(SPELLED), mixed))}，谢谢", "phone", number)
    if kind == "landline":
        area = r.choice(AREA)
        local = r.choice("2345678") + "".join(r.choices("0123456789", k=7 if len(area) == 3 else r.choice((6, 7))))
        shape = r.choice(
            (f"{area}-{local}", f"{area}{local}", f"({area}){local}", f"{area} {local}", f"（{area}）{local}")
        )
        return Planted(f"物业座机{shape}无人接听", "phone", local)
    if kind == "service":
        number = "400" + "".join(r.choices("0123456789", k=7))
        return Planted(
            f"商家客服{r.choice((number, split(r, number, (3, 3, 4)), split(r, number, (3, 4, 3))))}不处理",
            "phone",
            number,
        )
    if kind == "id":
        number = id_number(r)
        shape = r.choice((number, number.lower(), split(r, number, (6, 8, 4)), number.translate(FULL_WIDTH)))
        return Planted(
            r.choice(("身份证号码{}，办理社保", "本人{}申请低保", "证件：{}。")).format(shape), "id_number", number
        )
    if kind == "old_id":
        number = old_id_number(r)
        return Planted(f"老身份证{number}查不到档案", "id_number", number)
    if kind == "card":
        number = bank_card(r)
        return Planted(f"退款退到{r.choice((number, split(r, number, (4, 4, 4, 4))))}没有到账", "bank_card", number)
    if kind == "plate":
        number = plate(r)
        shape = r.choice((number, number[:2] + "·" + number[2:], number[:2] + " " + number[2:], number.lower()))
        return Planted(
            r.choice(("车牌{}的出租车拒载", "{}违停挡住消防通道", "一辆{}逆行。")).format(shape), "plate", number
        )
    if kind == "email":
        user = "".join(r.choices("abcdefghij", k=6)) + str(r.randint(1, 999))
        return Planted(f"材料发到{user}@{r.choice(('qq.com', '163.com', 'mail.gov.cn'))}了", "email", user)
    if kind == "account":
        user = r.choice(("wxid_", "abc", "hk-")) + str(r.randint(10000, 9999999))
        return Planted(f"对方{r.choice(('微信号', '微信：', 'vx ', 'QQ号是'))}{user}骗我转账", "account", user)
    if kind == "passport":
        number = r.choice("EGP") + "".join(r.choices("0123456789", k=8))
        return Planted(f"护照号码{number}签注问题", "document", number)
    if kind == "title":
        person = name(r)
        who = r.choice((person, person[0]))
        return Planted(f"{who}{r.choice(('先生', '女士', '老师', '医生', '师傅'))}来电反映噪音扰民", "name", who)
    if kind == "label":
        person = name(r)
        frame = r.choice(
            ("我叫{}，住在附近", "联系人：{}，请回电", "姓名:{} 反映停水", "业主{}，多次投诉", "法定代表人{}。")
        )
        return Planted(frame.format(person), "name", person)
    if kind == "room":
        room = f"{r.randint(1, 30)}栋{r.randint(1, 4)}单元{r.randint(101, 2904)}{r.choice(('室', '房', ''))}"
        return Planted(f"幸福花园小区{room}漏水", "address", room)
    door = f"{r.randint(1, 400)}号"
    return Planted(f"住在{r.choice(('和平大道', '解放路', '新民街', '仁义巷'))}{door}，停水两天", "address", door)


def look_alike(r: random.Random) -> str:
    """A sentence with numbers or words that resemble personal data and are none."""
    day = f"{r.randint(2017, 2026)}{r.randint(1, 12):02d}{r.randint(1, 28):02d}"
    digits = "".join(r.choices("0123456789", k=6))
    return r.choice(
        (
            f"工单编号{day}{digits}已超期",
            f"工单{day}{digits}，请尽快回复",
            f"受理编号460100-{day}-{digits}",
            f"{day[:4]}-{day[4:6]}-{day[6:]} 1{r.randint(0, 9)}:30停电",
            f"{day[:4]}年{int(day[4:6])}月{int(day[6:])}日上午停水",
            f"{day[:4]}/{int(day[4:6])}/{int(day[6:])} 8:05:33发生",
            f"房价每平方{r.randint(8000, 30000)}元，总价{r.randint(1000000, 9999999)}元",
            f"电表号{r.choice(('13', '15', '18'))}{digits}{r.randint(100, 999)}不走字",
            f"燃气户号：{r.randint(10**9, 10**10 - 1)}欠费",
            f"水表编号{r.randint(10**12, 10**13 - 1)}",
            f"订单号{r.randint(10**17, 10**18 - 1)}没有发货",
            "拨打12345、110、119、12315、95588都没人管",
            f"{r.randint(1, 60)}路公交车晚点，{r.randint(1, 9)}号线停运",
            f"3室2厅{r.randint(60, 150)}平方米，首付{r.randint(10, 90)}万",
            f"共{r.randint(2, 30)}栋楼、{r.randint(100, 900)}户居民没有电梯",
            f"坐标110.{digits},20.{digits}处有积水",
            "公安局长和城管队长应该来看看，音乐老师、班主任都知道",
            "我是高中生，我是海口人，业主和物业有矛盾",
            "微信小程序打不开，通过微信12345反映过",
            "二〇二六年十一月二十一日，第一百二十三条规定",
            f"版本V{r.randint(1, 9)}.{r.randint(0, 9)}.{r.randint(0, 9)}，型号HX-{r.randint(1000, 9999)}",
            f"K{r.randint(1, 99)}+{r.randint(100, 900)}处路面塌陷",
        )
    )
