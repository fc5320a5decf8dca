"""Prometheus figures of the runtime. Labels never hold a citizen's data: groups, topics, routes and codes only."""

from prometheus_client import Counter, Gauge, Histogram

HANDLED = Counter("sushu_events_handled_total", "Events whose effects are committed", ["group", "topic"])
BATCH_RECORDS = Histogram(
    "sushu_batch_records", "Records in a batch", ["group"], buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
BATCH_SECONDS = Histogram(
    "sushu_batch_seconds", "Seconds of a batch, handler and commit", ["group"], buckets=(0.005, 0.02, 0.05, 0.2, 1, 5)
)
DEAD_LETTERS = Counter("sushu_dead_letters_total", "Records that could not be handled", ["group", "topic"])
PAUSES = Counter("sushu_partition_pauses_total", "Pauses of a partition for a passing trouble", ["group"])
RELAYED = Counter("sushu_outbox_relayed_total", "Outbox rows handed to the bus", ["service"])
OUTBOX_AGE = Gauge("sushu_outbox_oldest_seconds", "Age of the oldest outbox row", ["service"])
LAG = Gauge("sushu_consumer_lag_records", "Records between the log's end and the inbox", ["group"])
TIMERS_FIRED = Counter("sushu_timers_fired_total", "Timers whose effects are committed", ["service", "kind"])
TIMER_LATENESS = Histogram(
    "sushu_timer_lateness_seconds", "Real seconds from due to commit", ["service"], buckets=(0.1, 0.5, 1, 2, 5, 30, 300)
)
REQUESTS = Counter("sushu_http_requests_total", "HTTP answers", ["service", "method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "sushu_http_request_seconds",
    "Seconds of an HTTP answer",
    ["service", "method", "route"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.3, 1, 5),
)
