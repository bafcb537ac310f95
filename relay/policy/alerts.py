"""Alert rules for Prometheus, made from the policies: one set for each objective, and those every relay needs.

For each objective two alerts, each over two windows (the long one says that it matters, the short one that it still
goes on): fast, 14.4 times the allowance over 1 h and 5 min, which uses up that of 30 days in two; slow, all of it
over 3 d and 6 h. Source of the figures: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs".

An objective that allows much can never burn 14.4 times as fast: 90 % burns at most at 10. There the fast alert waits
for half of all mail. And a single late message at night is no incident: at least LATE_LEAST must be late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from relay.policy.model import Policy, Stream

FAST_BURN, SLOW_BURN = 14.4, 1.0
FAST_SHARE = 0.5  # where 14.4 is beyond what can be: half of all mail is late
LATE_LEAST = 3
Rule = dict[str, Any]

RUNBOOK = "docs/operations.md"
HEAD = """\
# Alert rules for Prometheus, written by `relay policy alerts` from the policies: do not edit, write them again
# after a change to streams. Load with `rule_files:`; check with `promtool check rules FILE`.
"""


def alerts_text(policy: Policy) -> str:
    """The rule file."""
    return HEAD + yaml.dump(alert_rules(policy), Dumper=Blocks, sort_keys=False, width=1000, allow_unicode=True)


class Blocks(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do."""


def _text(dumper: Blocks, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Blocks.add_representer(str, _text)


def alert_rules(policy: Policy) -> Mapping[str, Any]:
    """The rule file as a value: groups of rules."""
    streams = policy.streams.values()
    objectives = [rule for stream in streams for rule in _objective(stream)]
    groups = [{"name": "relay", "rules": [*GENERAL, *(_stuck(stream) for stream in streams)]}]
    if objectives:
        groups.append({"name": "relay objectives", "rules": objectives})
    return {"groups": groups}


def _rule(name: str, expr: str, wait: str, severity: str, summary: str, **labels: str) -> Rule:
    return {
        "alert": name, "expr": expr, "for": wait, "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary, "runbook": RUNBOOK},
    }  # fmt: skip


GENERAL: tuple[Rule, ...] = (
    _rule(
        "RelayDown",
        "(count by (instance) (max_over_time(relay_build_info[1h])) unless count by (instance) (relay_build_info))\n"
        "or (absent(relay_build_info) unless on () count(max_over_time(relay_build_info[1h])))",
        "2m", "page", "the relay cannot be asked: systemctl status relay",
    ),
    _rule(
        "RelayAccountingGap", "relay_accounting_gap != 0", "1m", "page",
        "{{ $value }} recipients are unaccounted for: keep the queue file, report a fault",
    ),
    _rule(
        "RelayRefusesMail",
        'sum by (reason) (increase(relay_refused_messages_total{reason=~"disk-full|queue|signing-key"}[5m])) > 0',
        "0m", "page", "mail is refused for a reason of ours, {{ $labels.reason }}: relay events tail --event refused",
    ),
    _rule(
        "RelayReloadFailed", "relay_reload_success == 0", "1m", "ticket",
        "the old policies are in force: relay check",
    ),
    _rule(
        "RelayDiskSlow",
        "histogram_quantile(0.99, sum by (le) (rate(relay_commit_seconds_bucket[5m]))) > 0.25",
        "10m", "ticket", "one commit in a hundred takes {{ $value | humanizeDuration }}: look at the disk",
    ),
    _rule(
        "RelaySourcePaused", "relay_source_paused == 1", "5m", "ticket",
        "source {{ $labels.source }} is paused towards {{ or $labels.provider \"everyone\" }}: relay source list;"
        " relay limits list",
    ),
    _rule(
        "RelayStreamPaused", "relay_stream_paused == 1", "5m", "ticket",
        "{{ $labels.provider }} wants no mail of stream {{ $labels.stream }}: relay limits list",
    ),
    _rule(
        "RelayStreamBraked", 'relay_brakes{rule!="operator"} > 0', "1m", "ticket",
        "a brake on stream {{ $labels.stream }}, {{ $labels.rule }}: relay brakes list",
    ),
    _rule(
        "RelayPauseForgotten", 'relay_brakes{rule="operator"} > 0', "12h", "ticket",
        "somebody paused stream {{ $labels.stream }} half a day ago: relay stream resume",
    ),
)  # fmt: skip


def _stuck(stream: Stream) -> Rule:
    """Mail to dead destinations is old as a rule, but never older than its stream lets it become."""
    most_s, name = stream.retry.expire_s, _plain(stream.name)
    return _rule(
        "RelayQueueStuck", f"relay_queue_oldest_seconds{{stream={_quoted(stream.name)}}} > {most_s + 3600:g}",
        "15m", "page",
        f"{name} has mail that should have expired: relay queue list --stream {name}",
        stream=name,
    )  # fmt: skip


def _objective(stream: Stream) -> list[Rule]:
    goal = stream.objective
    if goal is None:
        return []
    allowed, name = 1 - goal.target, _plain(stream.name)
    fast = min(FAST_BURN * allowed, FAST_SHARE)
    promise = f"{float(f'{goal.target * 100:.6f}'):g}% within {goal.within_s:g} s"
    return [
        _rule(
            "RelayObjectiveFast", _burning(stream.name, fast, "1h", "5m"), "2m", "page",
            f"{name} misses {{{{ $value | humanizePercentage }}}} of its mail (promised: {promise}):"
            " relay stream list; relay queue list",
            stream=name,
        ),
        _rule(
            "RelayObjectiveSlow", _burning(stream.name, SLOW_BURN * allowed, "3d", "6h"), "1h", "ticket",
            f"{name} has used up what it may miss in three days (promised: {promise}): relay stream list",
            stream=name,
        ),
    ]  # fmt: skip


def _burning(stream: str, share: float, long: str, short: str) -> str:
    """The share missed is above `share` in both windows, and not by one message."""
    at = f"{{stream={_quoted(stream)}}}"
    late = f"sum(increase(relay_objective_total{at}[{long}])) - sum(increase(relay_objective_good_total{at}[{long}]))"
    least = LATE_LEAST - 0.5  # increase() is extrapolated: three may read 2.9
    return f"{_missed(at, long)} > {share:.6g}\nand {_missed(at, short)} > {share:.6g}\nand {late} > {least:g}"


def _missed(at: str, window: str) -> str:
    good, total = f"relay_objective_good_total{at}[{window}]", f"relay_objective_total{at}[{window}]"
    return f"(1 - sum(rate({good})) / sum(rate({total})))"


def _plain(text: str) -> str:
    """A name as text of a label or annotation, which are templates."""
    return text.replace("{{", '{{"{{"}}')


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
