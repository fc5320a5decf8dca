"""The timeline in plain Chinese: one function per event type (domain.md, Feedback: "the state in plain words").

A citizen may read every sentence marked in `FOR_CITIZENS`; the others are for the people who handle the case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from shared.clock import ZONE
from shared.events.catalog import appeals, attachments, clocks, handoffs, labels, peers, ratings, work_orders
from shared.events.event import Event

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


def _when(instant: datetime) -> str:
    local = instant.astimezone(ZONE)
    return f"{local.month}月{local.day}日 {local:%H:%M}"


def _span(seconds: int) -> str:
    if seconds % 86400 == 0:
        return f"{seconds // 86400} 天"
    return f"{seconds / 3600:.1f} 小时".replace(".0 ", " ")


def _clock_names(names: Sequence[str]) -> str:
    return "、".join(CLOCKS.get(name, name) for name in names)


def _received(event: appeals.AppealReceived) -> str:
    channel = CHANNELS.get(event.after.channel, event.after.channel)
    return f"收到诉求（{channel}），受理编号 {event.after.reference_no}"


def _withdrawn(event: appeals.AppealWithdrawn) -> str:
    return "市民撤回诉求"


def _declined(event: appeals.AppealDeclined) -> str:
    return "诉求不予受理，市民可申请复核"


def _link_requested(event: appeals.AppealLinkRequested) -> str:
    return "提出与另一件诉求合并：" + ("重复诉求" if event.link.relation == "repeat" else "同一事件")


def _unlink_requested(event: appeals.AppealUnlinkRequested) -> str:
    return "提出撤销合并，单独办理"


def _classified(event: labels.LabelClassified) -> str:
    label = event.after
    words = (
        f"归类为“{' › '.join(label.matter.path) or label.matter.code}”（{CLASSES.get(label.handling_class, '一般')}）"
    )
    words += f"，把握 {label.matter.probability:.0%}"
    if label.safety_words:
        words += f"，涉及安全：{'、'.join(label.safety_words)}"
    if label.needs_review:
        words += "，同时请人工核对"
    return words + ("，分类模型不可用，按规则归类" if label.degraded else "")


def _reviewed(event: labels.LabelReviewed) -> str:
    matter = event.after.matter
    verb = "人工核对无误" if matter.code == event.before_matter else "人工更正归类"
    return f"{verb}：“{' › '.join(matter.path) or matter.code}”（{CLASSES.get(event.after.handling_class, '一般')}）"


def _opened(event: work_orders.WorkOrderOpened) -> str:
    return f"建立工单，核对期间由{event.after.lead_name}负责"


def _dispatched(event: work_orders.WorkOrderDispatched) -> str:
    return f"{DISPATCH_CAUSES.get(event.cause, '')}派给{event.after.lead_name}"


def _accepted(event: work_orders.WorkOrderAccepted) -> str:
    return f"{event.after.lead_name}签收办理"


def _contacted(event: work_orders.WorkOrderContacted) -> str:
    return f"{event.after.lead_name}已与市民联系"


def _progressed(event: work_orders.WorkOrderProgressed) -> str:
    return f"{event.after.lead_name}更新办理进展"


def _completed(event: work_orders.WorkOrderCompleted) -> str:
    words = f"{event.after.lead_name}报告办结"
    if event.after.solved is not None:
        words += "，问题已解决" if event.after.solved else "，问题未能解决"
    return words + (f"。答复：{event.after.result}" if event.after.result else "")


def _returned(event: work_orders.WorkOrderReturned) -> str:
    return f"承办单位退单：{RETURN_REASONS.get(event.reason_code, '其他原因')}"


def _disputed(event: work_orders.WorkOrderDisputed) -> str:
    return "出现派单争议，由中心裁定承办单位"


_SCOPES = {"matter_territory": "今后同类事项同样办理", "case": "仅限本件"}


def _ruled(event: work_orders.WorkOrderRuled) -> str:
    # who leads is said by the dispatch that follows
    return f"中心对派单争议作出裁定（{_SCOPES.get(event.scope, '仅限本件')}）"


def _check_ordered(event: work_orders.WorkOrderCheckOrdered) -> str:
    return f"中心安排 {len(event.units)} 个单位现场核查"


def _check_recorded(event: work_orders.WorkOrderCheckRecorded) -> str:
    return f"{_when(event.checked_at)} 已现场核查"


def _ruling_contested(event: work_orders.WorkOrderRulingContested) -> str:
    return "承办单位对裁定提出异议，上一级复核期间裁定继续有效"


def _ruling_upheld(event: work_orders.WorkOrderRulingUpheld) -> str:
    return "上一级复核：维持原裁定"


def _ruling_changed(event: work_orders.WorkOrderRulingChanged) -> str:
    return f"上一级复核：改变原裁定（{_SCOPES.get(event.scope, '仅限本件')}）"


def _shirked(event: work_orders.WorkOrderShirked) -> str:
    return "裁定后仍推诿，已记录"


def _relabelled(event: work_orders.WorkOrderRelabelled) -> str:
    return f"工单归类更正，处置类别为{CLASSES.get(event.after.handling_class, '一般')}，时限重新计算"


def _approval_requested(event: work_orders.WorkOrderApprovalRequested) -> str:
    return f"申请{'挂账' if event.what == 'suspension' else '延期'} {_span(event.seconds)}"


def _approval_rejected(event: work_orders.WorkOrderApprovalRejected) -> str:
    return f"{'挂账' if event.what == 'suspension' else '延期'}申请未获批准"


def _suspended(event: work_orders.WorkOrderSuspended) -> str:
    return f"经批准挂账至 {_when(event.until)}，办结时限暂停"


def _resumed(event: work_orders.WorkOrderResumed) -> str:
    return "挂账结束，继续办理"


def _extended(event: work_orders.WorkOrderExtended) -> str:
    return f"经批准延期 {_span(event.seconds)}"


def _co_handlers(event: work_orders.WorkOrderCoHandlersAdded) -> str:
    return f"增加 {len(event.units)} 个协办单位"


def _split(event: work_orders.WorkOrderSplit) -> str:
    return f"由{event.after.lead_name}牵头，{len(event.parts)} 个单位联合处置"


_PART = {"completed": "已办结", "returned": "退回", "cancelled": "已取消", "open": "改由其他单位承办"}


def _part_changed(event: work_orders.WorkOrderPartChanged) -> str:
    return f"联合处置的一项任务{_PART.get(event.outcome, '有变化')}"


def _reopened(event: work_orders.WorkOrderReopened) -> str:
    return f"市民不满意，由{event.after.lead_name}二次办理"


def _joined(event: work_orders.WorkOrderAppealJoined) -> str:
    return "与在办工单合并办理" + ("（重复诉求）" if event.relation == "repeat" else "（同一事件）")


def _repeat_found(event: work_orders.WorkOrderRepeatFound) -> str:
    return "市民就已办结的诉求再次反映（重复诉求）"


def _parted(event: work_orders.WorkOrderAppealParted) -> str:
    return "撤销合并，另行办理"


def _closed(event: work_orders.WorkOrderClosed) -> str:
    return "工单归档"


def _cancelled(event: work_orders.WorkOrderCancelled) -> str:
    return "工单取消"


def _handed_off(event: work_orders.WorkOrderHandedOff) -> str:
    return "对方平台已接收，移交完成" if event.after.task is None else "对方平台已接收联合处置的一项任务"


def _offered(event: handoffs.HandoffOffered) -> str:
    if event.after.joint is not None:
        return f"请平台 {event.after.receiver} 联合处置其中一项任务"
    return f"诉求属其他地区，向平台 {event.after.receiver} 提出移交；对方接收前由本中心负责"


def _handoff_refused(event: work_orders.WorkOrderHandoffRefused) -> str:
    return "对方平台未接收，仍由本中心负责" if event.after.task is None else "对方平台未接收联合处置的一项任务"


def _forwarded(event: handoffs.HandoffForwarded) -> str:
    return f"转送平台 {event.after.receiver}"


def _taken(event: handoffs.HandoffAccepted) -> str:
    return f"平台 {event.after.receiver} 同意接收"


def _not_taken(event: handoffs.HandoffRefused) -> str:
    return f"平台 {event.after.receiver} 未接收移交"


def _taken_back(event: handoffs.HandoffWithdrawn) -> str:
    return "移交已收回，由本平台办理" if event.after.joint is None else "联合处置的一项任务已收回"


def _done_there(event: handoffs.HandoffCompleted) -> str:
    return f"平台 {event.after.receiver} 已办理完毕"


def _acknowledged(event: handoffs.HandoffAcknowledged) -> str:
    return "移交办理结束，结果已确认"


def _peer_offered(event: peers.PeerOffered) -> str:
    return f"平台 {event.after.sender} 提出移交"


def _peer_reported(event: peers.PeerReported) -> str:
    return f"收到平台回执（第 {event.seq} 号）"


def _clock_started(event: clocks.ClockStarted) -> str:
    due = {state.clock: state.due_at for state in event.after.clocks if state.stopped_at is None}
    parts = [
        f"{CLOCKS.get(name, name)}（{_when(due[name])}前）" if name in due else CLOCKS.get(name, name)
        for name in event.clocks
    ]
    return "开始计时：" + "、".join(parts)


def _clock_stopped(event: clocks.ClockStopped) -> str:
    return f"{_clock_names(event.clocks)}停止计时，{'在时限内' if event.in_time else '已超时限'}"


def _clock_rebased(event: clocks.ClockRebased) -> str:
    return f"{_clock_names(event.clocks)}时限调整"


def _yellow(event: clocks.ClockTurnedYellow) -> str:
    return f"黄灯提醒：{CLOCKS.get(event.clock, event.clock)}时限将至（{_when(event.due_at)}）"


def _red(event: clocks.ClockTurnedRed) -> str:
    return f"红灯：{CLOCKS.get(event.clock, event.clock)}已到时限（{_when(event.due_at)}）"


def _escalated(event: clocks.ClockEscalated) -> str:
    words = f"启动{LEVELS.get(event.level, str(event.level))}督办：{CLOCKS.get(event.clock, event.clock)}"
    return words + ("（补发）" if event.late else "")


def _corrected(event: clocks.ClockCorrected) -> str:
    clock = CLOCKS.get(event.clock, event.clock)
    states = (state for state in event.after.clocks if (state.clock, state.round) == (event.clock, event.round))
    if any(state.lamp == "red" for state in states):
        levels = "、".join(LEVELS.get(level, str(level)) for level in event.levels)
        return f"更正：撤销{clock}的{levels}督办"
    return f"更正：{clock}实为按时，撤销已发出的提醒或督办"


def _feedback_opened(event: ratings.FeedbackOpened) -> str:
    beside = {"text": "，并安排文字回访", "sign_video": "，并安排手语视频回访"}.get(event.after.medium or "", "")
    return ("安排电话回访" if event.after.method == "callback" else "已向市民发出评价链接") + beside


def _attempted(event: ratings.FeedbackAttempted) -> str:
    return f"第 {event.attempt} 次回访：{ATTEMPTS.get(event.outcome, event.outcome)}"


def _answered(event: ratings.FeedbackAnswered) -> str:
    answer = event.answer
    parts = []
    if answer.contacted is not None:
        parts.append("已联系" if answer.contacted else "未联系")
    if answer.solved is not None:
        parts.append("已解决" if answer.solved else "未解决")
    if answer.satisfaction is not None:
        parts.append(f"满意度 {answer.satisfaction} 分")
    words = "市民评价：" + ("、".join(parts) or "未作答")
    return words + (f"。“{answer.words}”" if answer.words else "")


def _feedback_closed(event: ratings.FeedbackClosed) -> str:
    return f"回访评价结束：{OUTCOMES.get(event.after.outcome or '', '已结束')}"


def _exclusion_requested(event: ratings.FeedbackExclusionRequested) -> str:
    return "承办单位申请剔除评价"


def _exclusion_decided(event: ratings.FeedbackExclusionDecided) -> str:
    who = "复核后" if event.review else ""
    if event.granted:
        return f"{who}同意剔除评价：不计入对承办单位的考核"
    return f"{who}不同意剔除评价：仍计入对承办单位的考核"


def _false_completion_decided(event: ratings.FeedbackFalseCompletionDecided) -> str:
    who = "复核后" if event.review else ""
    return f"{who}认定为虚假办结" if event.confirmed else f"{who}认定不是虚假办结"


def _review_requested(event: ratings.FeedbackReviewRequested) -> str:
    about = "剔除评价" if event.of == "exclusion" else "虚假办结"
    return f"对{about}的决定申请复核"


_FILES = {"image": "图片", "video": "视频", "audio": "录音", "application": "文件"}


def _attached(event: attachments.AttachmentStored) -> str:
    what = _FILES.get(event.after.media_type.partition("/")[0], "文件")
    return f"{'提交办理凭证' if event.after.purpose == 'evidence' else '随诉求提交'}：{what} 1 份"


def _attachment_removed(event: attachments.AttachmentRemoved) -> str:
    return "附件内容已按规定删除"


WORDS: Final[dict[type[Event], Callable[[Any], str]]] = {
    appeals.AppealReceived: _received,
    appeals.AppealWithdrawn: _withdrawn,
    appeals.AppealDeclined: _declined,
    appeals.AppealLinkRequested: _link_requested,
    appeals.AppealUnlinkRequested: _unlink_requested,
    attachments.AttachmentStored: _attached,
    attachments.AttachmentRemoved: _attachment_removed,
    labels.LabelClassified: _classified,
    labels.LabelReviewed: _reviewed,
    work_orders.WorkOrderOpened: _opened,
    work_orders.WorkOrderDispatched: _dispatched,
    work_orders.WorkOrderAccepted: _accepted,
    work_orders.WorkOrderContacted: _contacted,
    work_orders.WorkOrderProgressed: _progressed,
    work_orders.WorkOrderCompleted: _completed,
    work_orders.WorkOrderReturned: _returned,
    work_orders.WorkOrderDisputed: _disputed,
    work_orders.WorkOrderRuled: _ruled,
    work_orders.WorkOrderCheckOrdered: _check_ordered,
    work_orders.WorkOrderCheckRecorded: _check_recorded,
    work_orders.WorkOrderRulingContested: _ruling_contested,
    work_orders.WorkOrderRulingUpheld: _ruling_upheld,
    work_orders.WorkOrderRulingChanged: _ruling_changed,
    work_orders.WorkOrderShirked: _shirked,
    work_orders.WorkOrderRelabelled: _relabelled,
    work_orders.WorkOrderApprovalRequested: _approval_requested,
    work_orders.WorkOrderApprovalRejected: _approval_rejected,
    work_orders.WorkOrderSuspended: _suspended,
    work_orders.WorkOrderResumed: _resumed,
    work_orders.WorkOrderExtended: _extended,
    work_orders.WorkOrderCoHandlersAdded: _co_handlers,
    work_orders.WorkOrderSplit: _split,
    work_orders.WorkOrderPartChanged: _part_changed,
    work_orders.WorkOrderReopened: _reopened,
    work_orders.WorkOrderAppealJoined: _joined,
    work_orders.WorkOrderAppealParted: _parted,
    work_orders.WorkOrderRepeatFound: _repeat_found,
    work_orders.WorkOrderClosed: _closed,
    work_orders.WorkOrderCancelled: _cancelled,
    work_orders.WorkOrderHandedOff: _handed_off,
    work_orders.WorkOrderHandoffRefused: _handoff_refused,
    handoffs.HandoffOffered: _offered,
    handoffs.HandoffForwarded: _forwarded,
    handoffs.HandoffAccepted: _taken,
    handoffs.HandoffRefused: _not_taken,
    handoffs.HandoffWithdrawn: _taken_back,
    handoffs.HandoffCompleted: _done_there,
    handoffs.HandoffAcknowledged: _acknowledged,
    peers.PeerOffered: _peer_offered,
    peers.PeerReported: _peer_reported,
    clocks.ClockStarted: _clock_started,
    clocks.ClockStopped: _clock_stopped,
    clocks.ClockRebased: _clock_rebased,
    clocks.ClockTurnedYellow: _yellow,
    clocks.ClockTurnedRed: _red,
    clocks.ClockEscalated: _escalated,
    clocks.ClockCorrected: _corrected,
    ratings.FeedbackOpened: _feedback_opened,
    ratings.FeedbackAttempted: _attempted,
    ratings.FeedbackAnswered: _answered,
    ratings.FeedbackClosed: _feedback_closed,
    ratings.FeedbackExclusionRequested: _exclusion_requested,
    ratings.FeedbackExclusionDecided: _exclusion_decided,
    ratings.FeedbackFalseCompletionDecided: _false_completion_decided,
    ratings.FeedbackReviewRequested: _review_requested,
}

FOR_CITIZENS: Final = frozenset(
    kind.type
    for kind in (
        appeals.AppealReceived,
        appeals.AppealWithdrawn,
        appeals.AppealDeclined,
        work_orders.WorkOrderDispatched,
        work_orders.WorkOrderAccepted,
        work_orders.WorkOrderContacted,
        work_orders.WorkOrderProgressed,
        work_orders.WorkOrderCompleted,
        work_orders.WorkOrderSuspended,
        work_orders.WorkOrderResumed,
        work_orders.WorkOrderExtended,
        work_orders.WorkOrderReopened,
        work_orders.WorkOrderAppealJoined,
        work_orders.WorkOrderAppealParted,
        work_orders.WorkOrderHandedOff,
        handoffs.HandoffCompleted,
        ratings.FeedbackOpened,
        ratings.FeedbackAnswered,
        ratings.FeedbackExclusionDecided,
        ratings.FeedbackFalseCompletionDecided,
    )
)

EXPLAINED: Final = frozenset(
    kind.type
    for kind in (
        appeals.AppealDeclined,
        ratings.FeedbackExclusionDecided,
        ratings.FeedbackFalseCompletionDecided,
    )
)
"""decisions that a citizen reads with their reason"""


def of(event: Event) -> str:
    """The sentence of an event; its type when a newer writer sends a kind that is not known here."""
    make = WORDS.get(type(event))
    return make(event) if make is not None else event.type
