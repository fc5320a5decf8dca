"""The measured set of quality.md, PII redaction: 84 sentence shapes with planted personal data, 40 of hard negatives.

Not written from the rules. `{x}` is where the planted value goes; numbers have their check digits.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.unit.redaction import cases
from tests.unit.redaction.cases import FULL_WIDTH, SPELLED, Planted

Make = Callable[[random.Random], tuple[str, str]]
"""(as it is written, what must no longer be readable)"""


def _mobile(r: random.Random) -> tuple[str, str]:
    number = cases.mobile(r)
    written = r.choice(
        (
            number,
            f"{number[:3]} {number[3:7]} {number[7:]}",
            f"{number[:3]}-{number[3:7]}-{number[7:]}",
            f"{number[:4]} {number[4:7]} {number[7:]}",
            f"+86 {number}",
            f"0086{number}",
            number.translate(FULL_WIDTH),
        )
    )
    return written, written


def _mobile_in_words(r: random.Random) -> tuple[str, str]:
    number = cases.mobile(r)
    words = number.translate(SPELLED)
    if r.random() < 0.5:
        words = words.replace("一", "幺")
    written = r.choice((words, number[:3] + words[3:], words[:3] + "、" + words[3:7] + "、" + words[7:]))
    return written, written


def _landline(r: random.Random) -> tuple[str, str]:
    area = r.choice(cases.AREA)
    local = r.choice("2345678") + "".join(r.choices("0123456789", k=7))
    extension = f"{area}-{local}转{r.randint(1, 999)}"
    written = r.choice((f"{area}-{local}", f"({area}){local}", f"{area} {local}", extension))
    return written, local


def _id(r: random.Random) -> tuple[str, str]:
    number = cases.id_number(r)
    written = r.choice(
        (number, number.lower(), f"{number[:6]} {number[6:14]} {number[14:]}", number.translate(FULL_WIDTH))
    )
    return written, written


def _card(r: random.Random) -> tuple[str, str]:
    number = cases.bank_card(r)
    grouped = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    written = r.choice((number, grouped))
    return written, written


def _passport(r: random.Random) -> tuple[str, str]:
    written = r.choice("EGDS") + "".join(r.choices("0123456789", k=8))
    return written, written


def _plate(r: random.Random) -> tuple[str, str]:
    number = cases.plate(r)
    written = r.choice((number, f"{number[:2]}·{number[2:]}", f"{number[:2]} {number[2:]}"))
    return written, number[2:]


def _email(r: random.Random) -> tuple[str, str]:
    user = "".join(r.choices("abcdefghijk", k=7)) + str(r.randint(1, 99))
    return f"{user}@{r.choice(('qq.com', '163.com', 'outlook.com', 'hotmail.com'))}", user


def _account(r: random.Random) -> tuple[str, str]:
    user = r.choice(
        (f"wxid_{r.randint(10**6, 10**7)}", f"lan_tian{r.randint(100, 999)}", str(r.randint(10**7, 10**10)))
    )
    return user, user


def _name(r: random.Random) -> tuple[str, str]:
    person = cases.name(r)
    return person, person


def _surname(r: random.Random) -> tuple[str, str]:
    person = r.choice("王李张刘陈杨赵黄周吴徐孙胡朱林郭罗梁宋郑谢韩唐冯")
    return person, person


def _room(r: random.Random) -> tuple[str, str]:
    written = r.choice(
        (
            f"{r.randint(1, 30)}栋{r.randint(1, 4)}单元{r.randint(101, 3204)}",
            f"{r.randint(1, 30)}号楼{r.randint(101, 3204)}室",
            f"{r.choice('ABC')}座{r.randint(101, 3204)}房",
            f"{r.randint(1, 30)}-{r.randint(1, 4)}-{r.randint(101, 3204)}",
        )
    )
    return written, written


def _door(r: random.Random) -> tuple[str, str]:
    written = f"{r.randint(1, 400)}号"
    return written, written


SHAPES: tuple[tuple[str, Make, str], ...] = tuple(
    (kind, make, shape)
    for kind, make, shapes in (
        (
            "phone",
            _mobile,
            (
                "我手机是{x}，麻烦回电",
                "请打{x}联系我",
                "来电号码{x}，反映停水",
                "{x}，没人接的话请发短信",
                "商家留的电话{x}是空号",
                "中介让我加{x}，交了定金就不理人",
                "有什么进展发短信到{x}",
                "骚扰电话{x}一天打二十次",
                "联系人电话：{x}；诉求：退款",
                "他用{x}给我打电话说中奖了",
                "本人{x}实名举报",
                "投诉快递员{x}乱扔包裹",
                "如需现场指认请拨{x}",
                "车主留的挪车号是{x}",
            ),
        ),
        (
            "phone",
            _mobile_in_words,
            ("回拨{x}就行", "我的号码念给你听：{x}", "语音留言里说的是{x}", "手机号{x}，别打错了", "请记一下 {x} 谢谢"),
        ),
        (
            "phone",
            _landline,
            (
                "单位座机{x}没人接",
                "拨打{x}一直忙音",
                "公示的服务电话{x}打不通",
                "物业办公室{x}推来推去",
                "传真发到{x}",
                "居委会{x}说不归他们管",
            ),
        ),
        (
            "id_number",
            _id,
            (
                "身份证{x}查不到社保",
                "本人身份证号码为{x}，申请公租房",
                "证件号{x}被别人冒用注册公司",
                "{x}这个身份证办的卡不是我的",
                "法人身份证：{x}",
                "孩子的身份号码{x}上不了学籍",
                "填表时要求写{x}这样的身份证号",
                "户口本上是{x}，系统里不是",
            ),
        ),
        (
            "bank_card",
            _card,
            (
                "工资卡{x}一直没到账",
                "押金退到{x}",
                "银行卡号：{x}，开户行海口",
                "我的卡{x}被盗刷",
                "低保发到{x}这张卡",
                "请把钱转回{x}",
            ),
        ),
        (
            "document",
            _passport,
            ("护照{x}过期了", "护照号：{x}，怎么补办", "外籍人员护照号码{x}办理居留", "持护照{x}入境被拒"),
        ),
        (
            "plate",
            _plate,
            (
                "{x}占用消防通道",
                "网约车{x}绕路",
                "有一辆{x}的货车遗撒渣土",
                "车牌号是{x}，天天停在门口",
                "请把{x}拖走",
                "出租车（{x}）不打表",
                "公交车{x}到站不停",
                "我的车{x}被划了",
            ),
        ),
        (
            "email",
            _email,
            ("材料发{x}", "请回复到邮箱{x}", "电子邮箱：{x}。", "给{x}写信没有人回", "注册用的是{x}，收不到验证码"),
        ),
        (
            "account",
            _account,
            (
                "对方微信{x}把我拉黑",
                "加微信号{x}买的票",
                "QQ：{x}骗我转账",
                "客服vx{x}",
                "抖音号{x}卖假货",
                "卖家QQ号是{x}，失联了",
            ),
        ),
        (
            "name",
            _name,
            (
                "我叫{x}，住在附近",
                "联系人：{x}。",
                "姓名：{x}，电话见来电",
                "举报人{x}，请保密",
                "{x}先生反映路灯不亮",
                "{x}女士再次来电",
                "业主{x}，对物业不满",
                "接待我的{x}老师态度很好",
                "收件人：{x}，快件丢失",
            ),
        ),
        ("name", _surname, ("{x}先生来电咨询", "{x}女士反映邻居吵闹", "感谢{x}师傅上门维修", "{x}阿姨说楼道灯坏了")),
        (
            "address",
            _room,
            (
                "金色家园{x}漏水",
                "我住阳光花园{x}，楼上装修",
                "幸福小区{x}住户养了五条狗",
                "请到滨江苑{x}查看",
                "翠湖小区{x}房东不退押金",
            ),
        ),
        ("address", _door, ("解放路{x}门口积水", "住在和平街{x}", "人民大道{x}的店没有执照", "文明巷{x}停电")),
    )
    for shape in shapes
)


def planted(r: random.Random, number: int) -> Planted:
    """The case of this number: shapes take turns, so that each is met equally often."""
    kind, make, shape = SHAPES[number % len(SHAPES)]
    written, secret = make(r)
    return Planted(shape.format(x=written), kind, secret)


def _day(r: random.Random, between: str = "") -> str:
    return f"{r.randint(2015, 2026)}{between}{r.randint(1, 12):02d}{between}{r.randint(1, 28):02d}"


def _time(r: random.Random) -> str:
    return f"{r.randint(10, 23)}:{r.randint(10, 59)}:{r.randint(10, 59)}"


def _digits(r: random.Random, size: int) -> str:
    return r.choice("123456789") + "".join(r.choices("0123456789", k=size - 1))


NEGATIVES: tuple[Callable[[random.Random], str], ...] = (
    lambda r: f"电表号{_digits(r, 11)}读数不对",
    lambda r: f"水表编号：{_digits(r, 10)}走得太快",
    lambda r: f"燃气户号{_digits(r, 12)}充值失败",
    lambda r: f"订单号{_digits(r, 19)}一直不发货",
    lambda r: f"订单编号 {_digits(r, 16)}",
    lambda r: f"快递单号SF{_digits(r, 13)}丢件",
    lambda r: f"运单{_digits(r, 15)}三天没动",
    lambda r: f"工单号{r.randint(2016, 2026)}{r.randint(1, 12):02d}{r.randint(1, 28):02d}{_digits(r, 6)}没有结果",
    lambda r: f"受理编号：460100-2026{r.randint(1, 12):02d}{r.randint(1, 28):02d}-{_digits(r, 6)}",
    lambda r: f"发票号码{_digits(r, 20)}是假的",
    lambda r: f"合同编号HK-{r.randint(2019, 2026)}-{_digits(r, 4)}",
    lambda r: f"房价{_digits(r, 7)}元，首付{_digits(r, 6)}元",
    lambda r: f"欠薪{_digits(r, 5)}.{r.randint(10, 99)}元",
    lambda r: f"{r.randint(2015, 2026)}年{r.randint(1, 12)}月{r.randint(1, 28)}日{r.randint(0, 23)}时停电",
    lambda r: f"{_day(r, '-')} {_time(r)}",
    lambda r: f"{_day(r)}到{_day(r)}",
    lambda r: f"{r.randint(1, 99)}路公交车{r.randint(10, 50)}分钟没来",
    lambda r: f"统一社会信用代码91460100MA5T{_digits(r, 5)}X",
    lambda r: f"型号XQ-{_digits(r, 8)}的洗衣机坏了",
    lambda r: f"设备号{_digits(r, 15)}离线",
    lambda r: f"网址 http://www.example{r.randint(1, 99)}.com/{_digits(r, 8)} 打不开",
    lambda r: "打12345、12315、12328都没有用",
    lambda r: f"拨打10{r.choice(('000', '010', '086'))}人工客服要等",
    lambda r: f"坐标东经110.{_digits(r, 6)}，北纬20.{_digits(r, 6)}",
    lambda r: f"共有{_digits(r, 4)}户、{_digits(r, 5)}人受影响",
    lambda r: f"面积{_digits(r, 5)}平方米，容积率2.{r.randint(1, 9)}",
    lambda r: f"{r.randint(1, 12)}号线{r.randint(1, 9)}号口电梯坏了",
    lambda r: f"小区一共{r.randint(5, 40)}栋楼，{r.randint(100, 2000)}个车位",
    lambda r: f"省道S{r.randint(100, 399)}线K{r.randint(1, 99)}+{r.randint(100, 900)}处坑洼",
    lambda r: f"条形码{_digits(r, 13)}的牛奶过期",
    lambda r: f"案号（{r.randint(2019, 2026)}）琼0106民初{_digits(r, 4)}号",
    lambda r: f"文号琼府〔{r.randint(2015, 2026)}〕{r.randint(1, 99)}号",
    lambda r: f"第{r.randint(1, 60)}届、第{r.randint(1, 300)}期、第{r.randint(1, 9)}次",
    lambda r: "校长和老师都说不知道，医生让转院，司机拒载",
    lambda r: "我是业主，物业经理不管，居委会主任不在",
    lambda r: "微信支付失败，QQ登录不上，抖音上看到的",
    lambda r: (
        f"温度{r.randint(28, 40)}度，噪音{r.randint(60, 99)}分贝，从{r.randint(20, 23)}点到凌晨{r.randint(1, 5)}点"
    ),
    lambda r: f"比例{r.randint(10, 99)}.{r.randint(10, 99)}%，增长{r.randint(100, 999)}倍",
    lambda r: f"版本{r.randint(1, 9)}.{r.randint(0, 20)}.{r.randint(0, 20)}更新后闪退，错误码{_digits(r, 6)}",
    lambda r: "二〇二六年三月一日起，一百二十三户三十六个月没有收到补贴",
)


def look_alike(r: random.Random, number: int) -> str:
    """A sentence that holds nothing personal; shapes take turns."""
    return NEGATIVES[number % len(NEGATIVES)](r)
