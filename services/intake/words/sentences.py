"""One sentence for each event type (domain.md, Feedback: "the state in plain words")."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import singledispatch

from services.intake.words.names import (
    ATTEMPTS,
    CHANNELS,
    CLASSES,
    CLOCKS,
    DISPATCH_CAUSES,
    LEVELS,
    OUTCOMES,
    RETURN_REASONS,
)
from shared.clock import ZONE
from shared.events.catalog import appeals, attachments, clocks, handoffs, labels, peers, ratings, work_orders
from shared.events.event import Event


@singledispatch
def of(event: Event) -> str:
    """The sentence of an event; its type when a newer writer sends a kind that is not known here."""
    return event.type


def _when(instant: datetime) -> str:
    local = instant.astimezone(ZONE)
    return f"{local.month}月{local.day}日 {local:%H:%M}"


def _span(seconds: int) -> str:
    if seconds % 86400 == 0:
        return f"{seconds // 86400} 天"
    return f"{seconds / 3600:.1f} 小时".replace(".0 ", " ")


def _clock_names(names: Sequence[str]) -> str:
    return "、".join(CLOCKS.get(name, name) for name in names)


@of.register
def _received(event: appeals.AppealReceived) -> str:
    channel = CHANNELS.get(event.after.channel, event.after.channel)
    return f"收到诉求（{channel}），受理编号 {event.after.reference_no}"


@of.register
def _withdrawn(event: appeals.AppealWithdrawn) -> str:
    return "市民撤回诉求"


@of.register
def _declined(event: appeals.AppealDeclined) -> str:
    return "诉求不予受理，市民可申请复核"


@of.register
def _link_requested(event: appeals.AppealLinkRequested) -> str:
    return "提出与另一件诉求合并：" + ("重复诉求" if event.link.relation == "repeat" else "同一事件")


@of.register
def _unlink_requested(event: appeals.AppealUnlinkRequested) -> str:
    return "提出撤销合并，单独办理"


@of.register
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


@of.register
def _reviewed(event: labels.LabelReviewed) -> str:
    matter = event.after.matter
    verb = "人工核对无误" if matter.code == event.before_matter else "人工更正归类"
    return f"{verb}：“{' › '.join(matter.path) or matter.code}”（{CLASSES.get(event.after.handling_class, '一般')}）"


@of.register
def _opened(event: work_orders.WorkOrderOpened) -> str:
    return f"建立工单，核对期间由{event.after.lead_name}负责"


@of.register
def _dispatched(event: work_orders.WorkOrderDispatched) -> str:
    return f"{DISPATCH_CAUSES.get(event.cause, '')}派给{event.after.lead_name}"


@of.register
def _accepted(event: work_orders.WorkOrderAccepted) -> str:
    return f"{event.after.lead_name}签收办理"


@of.register
def _contacted(event: work_orders.WorkOrderContacted) -> str:
    return f"{event.after.lead_name}已与市民联系"


@of.register
def _progressed(event: work_orders.WorkOrderProgressed) -> str:
    return f"{event.after.lead_name}更新办理进展"


@of.register
def _completed(event: work_orders.WorkOrderCompleted) -> str:
    words = f"{event.after.lead_name}报告办结"
    if event.after.solved is not None:
        words += "，问题已解决" if event.after.solved else "，问题未能解决"
    return words + (f"。答复：{event.after.result}" if event.after.result else "")


@of.register
def _returned(event: work_orders.WorkOrderReturned) -> str:
    return f"承办单位退单：{RETURN_REASONS.get(event.reason_code, '其他原因')}"


@of.register
def _disputed(event: work_orders.WorkOrderDisputed) -> str:
    return "出现派单争议，由中心裁定承办单位"


_SCOPES = {"matter_territory": "今后同类事项同样办理", "case": "仅限本件"}


@of.register
def _ruled(event: work_orders.WorkOrderRuled) -> str:
    # who leads is said by the dispatch that follows
    return f"中心对派单争议作出裁定（{_SCOPES.get(event.scope, '仅限本件')}）"


@of.register
def _check_ordered(event: work_orders.WorkOrderCheckOrdered) -> str:
    return f"中心安排 {len(event.units)} 个单位现场核查"


@of.register
def _check_recorded(event: work_orders.WorkOrderCheckRecorded) -> str:
    return f"{_when(event.checked_at)} 已现场核查"


@of.register
def _ruling_contested(event: work_orders.WorkOrderRulingContested) -> str:
    return "承办单位对裁定提出异议，上一级复核期间裁定继续有效"


@of.register
def _ruling_upheld(event: work_orders.WorkOrderRulingUpheld) -> str:
    return "上一级复核：维持原裁定"


@of.register
def _ruling_changed(event: work_orders.WorkOrderRulingChanged) -> str:
    return f"上一级复核：改变原裁定（{_SCOPES.get(event.scope, '仅限本件')}）"


@of.register
def _shirked(event: work_orders.WorkOrderShirked) -> str:
    return "裁定后仍推诿，已记录"


@of.register
def _relabelled(event: work_orders.WorkOrderRelabelled) -> str:
    return f"工单归类更正，处置类别为{CLASSES.get(event.after.handling_class, '一般')}，时限重新计算"


@of.register
def _approval_requested(event: work_orders.WorkOrderApprovalRequested) -> str:
    return f"申请{'挂账' if event.what == 'suspension' else '延期'} {_span(event.seconds)}"


@of.register
def _approval_rejected(event: work_orders.WorkOrderApprovalRejected) -> str:
    return f"{'挂账' if event.what == 'suspension' else '延期'}申请未获批准"


@of.register
def _suspended(event: work_orders.WorkOrderSuspended) -> str:
    return f"经批准挂账至 {_when(event.until)}，办结时限暂停"


@of.register
def _resumed(event: work_orders.WorkOrderResumed) -> str:
    return "挂账结束，继续办理"


@of.register
def _extended(event: work_orders.WorkOrderExtended) -> str:
    return f"经批准延期 {_span(event.seconds)}"


@of.register
def _co_handlers(event: work_orders.WorkOrderCoHandlersAdded) -> str:
    return f"增加 {len(event.units)} 个协办单位"


@of.register
def _split(event: work_orders.WorkOrderSplit) -> str:
    return f"由{event.after.lead_name}牵头，{len(event.parts)} 个单位联合处置"


_PART = {"completed": "已办结", "returned": "退回", "cancelled": "已取消", "open": "改由其他单位承办"}


@of.register
def _part_changed(event: work_orders.WorkOrderPartChanged) -> str:
    return f"联合处置的一项任务{_PART.get(event.outcome, '有变化')}"


@of.register
def _reopened(event: work_orders.WorkOrderReopened) -> str:
    return f"市民不满意，由{event.after.lead_name}二次办理"


@of.register
def _joined(event: work_orders.WorkOrderAppealJoined) -> str:
    return "与在办工单合并办理" + ("（重复诉求）" if event.relation == "repeat" else "（同一事件）")


@of.register
def _repeat_found(event: work_orders.WorkOrderRepeatFound) -> str:
    return "市民就已办结的诉求再次反映（重复诉求）"


@of.register
def _parted(event: work_orders.WorkOrderAppealParted) -> str:
    return "撤销合并，另行办理"


@of.register
def _closed(event: work_orders.WorkOrderClosed) -> str:
    return "工单归档"


@of.register
def _cancelled(event: work_orders.WorkOrderCancelled) -> str:
    return "工单取消"


@of.register
def _handed_off(event: work_orders.WorkOrderHandedOff) -> str:
    return "对方平台已接收，移交完成" if event.after.task is None else "对方平台已接收联合处置的一项任务"


@of.register
def _offered(event: handoffs.HandoffOffered) -> str:
    if event.after.joint is not None:
        return f"请平台 {event.after.receiver} 联合处置其中一项任务"
    return f"诉求属其他地区，向平台 {event.after.receiver} 提出移交；对方接收前由本中心负责"


@of.register
def _handoff_refused(event: work_orders.WorkOrderHandoffRefused) -> str:
    return "对方平台未接收，仍由本中心负责" if event.after.task is None else "对方平台未接收联合处置的一项任务"


@of.register
def _forwarded(event: handoffs.HandoffForwarded) -> str:
    return f"转送平台 {event.after.receiver}"


@of.register
def _taken(event: handoffs.HandoffAccepted) -> str:
    return f"平台 {event.after.receiver} 同意接收"


@of.register
def _not_taken(event: handoffs.HandoffRefused) -> str:
    return f"平台 {event.after.receiver} 未接收移交"


@of.register
def _taken_back(event: handoffs.HandoffWithdrawn) -> str:
    return "移交已收回，由本平台办理" if event.after.joint is None else "联合处置的一项任务已收回"


@of.register
def _done_there(event: handoffs.HandoffCompleted) -> str:
    return f"平台 {event.after.receiver} 已办理完毕"


@of.register
def _acknowledged(event: handoffs.HandoffAcknowledged) -> str:
    return "移交办理结束，结果已确认"


@of.register
def _peer_offered(event: peers.PeerOffered) -> str:
    return f"平台 {event.after.sender} 提出移交"


@of.register
def _peer_reported(event: peers.PeerReported) -> str:
    return f"收到平台回执（第 {event.seq} 号）"


@of.register
def _clock_started(event: clocks.ClockStarted) -> str:
    due = {state.clock: state.due_at for state in event.after.clocks if state.stopped_at is None}
    parts = [
        f"{CLOCKS.get(name, name)}（{_when(due[name])}前）" if name in due else CLOCKS.get(name, name)
        for name in event.clocks
    ]
    return "开始计时：" + "、".join(parts)


@of.register
def _clock_stopped(event: clocks.ClockStopped) -> str:
    return f"{_clock_names(event.clocks)}停止计时，{'在时限内' if event.in_time else '已超时限'}"


@of.register
def _clock_rebased(event: clocks.ClockRebased) -> str:
    return f"{_clock_names(event.clocks)}时限调整"


@of.register
def _yellow(event: clocks.ClockTurnedYellow) -> str:
    return f"黄灯提醒：{CLOCKS.get(event.clock, event.clock)}时限将至（{_when(event.due_at)}）"


@of.register
def _red(event: clocks.ClockTurnedRed) -> str:
    return f"红灯：{CLOCKS.get(event.clock, event.clock)}已到时限（{_when(event.due_at)}）"


@of.register
def _escalated(event: clocks.ClockEscalated) -> str:
    words = f"启动{LEVELS.get(event.level, str(event.level))}督办：{CLOCKS.get(event.clock, event.clock)}"
    return words + ("（补发）" if event.late else "")


@of.register
def _corrected(event: clocks.ClockCorrected) -> str:
    clock = CLOCKS.get(event.clock, event.clock)
    states = (state for state in event.after.clocks if (state.clock, state.round) == (event.clock, event.round))
    if any(state.lamp == "red" for state in states):
        levels = "、".join(LEVELS.get(level, str(level)) for level in event.levels)
        return f"更正：撤销{clock}的{levels}督办"
    return f"更正：{clock}实为按时，撤销已发出的提醒或督办"


@of.register
def _feedback_opened(event: ratings.FeedbackOpened) -> str:
    beside = {"text": "，并安排文字回访", "sign_video": "，并安排手语视频回访"}.get(event.after.medium or "", "")
    return ("安排电话回访" if event.after.method == "callback" else "已向市民发出评价链接") + beside


@of.register
def _attempted(event: ratings.FeedbackAttempted) -> str:
    return f"第 {event.attempt} 次回访：{ATTEMPTS.get(event.outcome, event.outcome)}"


@of.register
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


@of.register
def _feedback_closed(event: ratings.FeedbackClosed) -> str:
    return f"回访评价结束：{OUTCOMES.get(event.after.outcome or '', '已结束')}"


@of.register
def _exclusion_requested(event: ratings.FeedbackExclusionRequested) -> str:
    return "承办单位申请剔除评价"


@of.register
def _exclusion_decided(event: ratings.FeedbackExclusionDecided) -> str:
    who = "复核后" if event.review else ""
    if event.granted:
        return f"{who}同意剔除评价：不计入对承办单位的考核"
    return f"{who}不同意剔除评价：仍计入对承办单位的考核"


@of.register
def _false_completion_decided(event: ratings.FeedbackFalseCompletionDecided) -> str:
    who = "复核后" if event.review else ""
    return f"{who}认定为虚假办结" if event.confirmed else f"{who}认定不是虚假办结"


@of.register
def _review_requested(event: ratings.FeedbackReviewRequested) -> str:
    about = "剔除评价" if event.of == "exclusion" else "虚假办结"
    return f"对{about}的决定申请复核"


_FILES = {"image": "图片", "video": "视频", "audio": "录音", "application": "文件"}


@of.register
def _attached(event: attachments.AttachmentStored) -> str:
    what = _FILES.get(event.after.media_type.partition("/")[0], "文件")
    return f"{'提交办理凭证' if event.after.purpose == 'evidence' else '随诉求提交'}：{what} 1 份"


@of.register
def _attachment_removed(event: attachments.AttachmentRemoved) -> str:
    return "附件内容已按规定删除"
