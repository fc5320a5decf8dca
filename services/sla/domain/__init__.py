"""The rules of deadlines as pure functions (domain.md, SLA): standard library only, no clock, no I/O.

Read in this order: `calendar` (what is working time), `intervals` (how a budget is used up), `policy` (which budget),
`clock` and `steps` (one clock and what moves it), `clock_set` and `lifecycle` (the clocks of an order and what the
named events do to them), `explanation`.
"""
