"""The rules of deadlines as pure functions (domain.md, SLA): standard library only, no clock, no I/O.

Read in this order: `calendar` (what is working time), `intervals` (how a budget is used up), `policy` (which budget),
`clocks` (one clock and its steps), `lifecycle` (what the named events do to the clocks of an order), `explanation`.
"""
