"""Every metric, declared once, fed by events only; labels are bounded by configuration, never by mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from relay import __version__
from relay.core.events import Event

DELIVERY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200)
OUR_FAULT = ("disk-full", "queue", "signing-key")  # reasons to refuse mail that are nobody's fault but ours
OUTCOMES = {"delivered", "deferred", "bounced", "expired", "cancelled"}


class Metrics:
    """All metrics of one relay."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._restarted: dict[str, int] = {}
        self._declare_mail()
        self._declare_queue()
        self._declare_times()
        self._declare_process()
        self._child = lru_cache(maxsize=4096)(lambda metric, *labels: metric.labels(*labels))

    def _declare_mail(self) -> None:
        registry = self.registry
        self.accepted = Counter(
            "relay_accepted_messages_total", "Messages answered 250.", ["listener", "stream"], registry=registry
        )
        self.refused = Counter(
            "relay_refused_messages_total", "Mail and commands refused, by reason.", ["reason"], registry=registry
        )
        self.recipients = Counter(
            "relay_recipients_total", "Outcomes of attempts and ends of recipients.",
            ["stream", "provider", "outcome"], registry=registry,
        )  # fmt: skip
        self.attempts = Counter(
            "relay_attempts_total", "Attempts to deliver to a recipient.", ["stream", "provider", "verdict"],
            registry=registry,
        )  # fmt: skip
        self.duplicates = Counter(
            "relay_duplicates_possible_total", "Delivered recipients that may have been delivered before.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.lost_after_dot = Counter(
            "relay_lost_after_dot_total", "Attempts that ended between the message and its answer.",
            ["stream", "policy"], registry=registry,
        )  # fmt: skip
        self.repeated = Counter(
            "relay_repeated_messages_total", "Messages not queued, as their idempotency key was known.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.guarded = Counter(
            "relay_guarded_messages_total", "Messages a stream's guard took for bulk mail.",
            ["stream", "sign", "action"], registry=registry,
        )  # fmt: skip
        self.complaints = Counter(
            "relay_complaints_total", "Complaints about mail of ours, each message once.", ["stream", "provider"],
            registry=registry,
        )  # fmt: skip
        self.late_bounces = Counter(
            "relay_late_bounces_total", "Messages reported undeliverable after delivery.", ["stream", "provider"],
            registry=registry,
        )  # fmt: skip
        self.ignored_reports = Counter(
            "relay_ignored_reports_total", "Reports on mail of ours that were not counted.", registry=registry
        )
        self.under_way = Gauge(
            "relay_accepting_messages", "Messages between their final dot and the reply.", registry=registry
        )
        self.connections = Gauge("relay_connections", "Open SMTP connections.", ["direction"], registry=registry)

    def _declare_queue(self) -> None:
        registry = self.registry
        self.queue = Gauge(
            "relay_queue_recipients", "Recipients in the queue.", ["stream", "state"], registry=registry
        )
        self.oldest = Gauge(
            "relay_queue_oldest_seconds", "Age of the oldest queued recipient.", ["stream"], registry=registry
        )
        self.queue_bytes = Gauge(
            "relay_queue_bytes", "Bytes of mail in the queue.", ["stream"], registry=registry
        )
        self.lost = Gauge(
            "relay_queue_lost_recipients", "Recipients in the queue that may have been delivered.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "relay_limits_waiting", "Due recipients that wait for a limit.", ["stream", "reason"], registry=registry
        )
        self.gap = Gauge(
            "relay_accounting_gap", "Accepted minus ended minus waiting recipients: must be 0.", registry=registry
        )

    def _declare_times(self) -> None:
        registry = self.registry
        self.time_to_deliver = Histogram(
            "relay_time_to_deliver_seconds", "From acceptance to delivery.", ["stream"],
            buckets=DELIVERY_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.time_to_first_attempt = Histogram(
            "relay_time_to_first_attempt_seconds", "From acceptance to the end of the first attempt.", ["stream"],
            buckets=DELIVERY_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.good = Counter(
            "relay_objective_good_total", "Recipients delivered within their stream's objective.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.total = Counter(
            "relay_objective_total", "Recipients that met their stream's objective or missed it.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.target = Gauge(
            "relay_objective_target", "The share of recipients that the objective promises.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.burn = Gauge(
            "relay_objective_burn_rate", "Share of missed recipients over the share that may be missed.",
            ["stream", "window"], registry=registry,
        )  # fmt: skip
        self.commit_seconds = Histogram(
            "relay_commit_seconds", "Time of one commit, fsync included.", buckets=COMMIT_BUCKETS_S, registry=registry
        )
        self.commit_batch = Histogram(
            "relay_commit_batch_messages", "Messages accepted by one commit.", buckets=BATCH_BUCKETS, registry=registry
        )

    def _declare_process(self) -> None:
        registry = self.registry
        self.reload_success = Gauge(
            "relay_reload_success", "1 if the last reload was taken, 0 if it was refused.", registry=registry
        )
        self.brakes = Gauge(
            "relay_brakes", "Brakes in force, an operator's pause included.", ["stream", "rule"], registry=registry
        )
        self.source_paused = Gauge(
            "relay_source_paused", "1 for each source that is left alone, provider \"\": towards everyone.",
            ["source", "provider"], registry=registry,
        )  # fmt: skip
        self.fronts = Gauge("relay_fronts", "Fronts that take mail; none in one process.", registry=registry)
        self.restarts = Counter(
            "relay_process_restarts_total", "Processes of the relay that died and were started again.", ["process"],
            registry=registry,
        )  # fmt: skip
        self.stream_paused = Gauge(
            "relay_stream_paused", "1 for each stream that a reply rule keeps from a provider.", ["stream", "provider"],
            registry=registry,
        )  # fmt: skip
        self.build = Gauge("relay_build_info", "1, with the version.", ["version"], registry=registry)
        self.build.labels(__version__).set(1)
        self.reload_success.set(1)
        for reason in OUR_FAULT:  # alerts see a counter grow from 0; one that appears has not grown
            self.refused.labels(reason)

    def on_event(self, event: Event) -> None:
        """Counts one event."""
        name, detail = event.event, event.detail
        if name in OUTCOMES:
            self._outcome(event)
        elif name == "accepted":
            self._child(self.accepted, str(detail.get("listener", "")), event.stream).inc()
        elif name == "refused":
            self._child(self.refused, str(detail.get("reason", "other"))).inc()
        elif name == "repeated":
            self._child(self.repeated, event.stream).inc()
        elif name == "guarded":
            self._child(self.guarded, event.stream, str(detail["guard"]), str(detail["action"])).inc()
        elif name in ("complained", "bounced_late"):
            metric = self.complaints if name == "complained" else self.late_bounces
            self._child(metric, event.stream, str(detail.get("provider", ""))).inc()
        elif name == "report_ignored":
            self.ignored_reports.inc()
        elif name == "attempted":
            self._child(self.attempts, event.stream, str(detail.get("provider", "")), "host_failed").inc()
        elif name == "reloaded":
            self.reload_success.set(0 if detail.get("problems") else 1)

    def _outcome(self, event: Event) -> None:
        name, stream, detail = event.event, event.stream, event.detail
        provider = str(detail.get("provider", ""))
        self._child(self.recipients, stream, provider, name).inc()
        if "possible_duplicate" in detail:
            self._child(self.duplicates, stream).inc()
        if "lost_after_dot" in detail:
            self._child(self.lost_after_dot, stream, str(detail["lost_after_dot"])).inc()
        age = detail.get("delay_s")
        if not isinstance(age, float):
            return
        age = max(0.0, age)  # the clock may have been set back meanwhile
        if "phase" in detail:
            self._child(self.attempts, stream, provider, name).inc()
            if detail.get("attempt") == 1:
                self._child(self.time_to_first_attempt, stream).observe(age)
        if name == "delivered":
            self._child(self.time_to_deliver, stream).observe(age)

    def restarted(self, process: str, times: int) -> None:
        """How often a process was started again, in all."""
        child = self._child(self.restarts, process)
        child.inc(max(0, times - self._restarted.get(process, 0)))
        self._restarted[process] = times

    def committed(self, seconds: float, messages: int) -> None:
        """One commit of the queue: its time, and how many messages it accepted."""
        self.commit_seconds.observe(seconds)
        if messages:
            self.commit_batch.observe(messages)

    def queue_is(
        self, queued: Mapping[str, int], held: Mapping[str, int], oldest: Mapping[str, float], now: float, gap: int
    ) -> None:
        """What the store counted: recipients by stream and state, when the oldest was accepted (Unix s)."""
        self.queue.clear()
        for state, counts in (("queued", queued), ("held", held)):
            for stream, count in counts.items():
                self.queue.labels(stream, state).set(count)
        self.oldest.clear()
        for stream, since in oldest.items():
            self.oldest.labels(stream).set(max(0.0, now - since))
        self.gap.set(gap)

    def lost_are(self, lost: Mapping[str, int]) -> None:
        """How many recipients of a stream wait, or are held, after a loss after the dot."""
        for stream, count in lost.items():
            self.lost.labels(stream).set(count)

    def stock_is(self, sizes: Mapping[str, int]) -> None:
        """Bytes of mail in the queue, by stream."""
        for stream, size in sizes.items():
            self.queue_bytes.labels(stream).set(size)

    def waiting_is(self, waiting: Mapping[tuple[str, str], int]) -> None:
        """How many due recipients of a stream wait for which limit."""
        self.waiting.clear()
        for (stream, reason), count in waiting.items():
            self.waiting.labels(stream, reason).set(count)

    def shaping_is(
        self, brakes: Mapping[tuple[str, str], int], sources: Iterable[tuple[str, str]],
        streams: Iterable[tuple[str, str]],
    ) -> None:  # fmt: skip
        """How many brakes of a stream's rules are in force, and which sources and streams are paused towards which
        providers, "" for all."""
        self.brakes.clear()
        for (stream, rule), count in brakes.items():
            self.brakes.labels(stream, rule).set(count)
        self.source_paused.clear()
        for source, provider in sources:
            self.source_paused.labels(source, provider).set(1)
        self.stream_paused.clear()
        for stream, provider in streams:
            self.stream_paused.labels(stream, provider).set(1)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
