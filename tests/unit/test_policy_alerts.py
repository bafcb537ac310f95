"""Alert rules and dashboard: made from the policies as shipped, and of metrics that exist."""

import json
import pathlib
import re

import pytest
import yaml

from relay.cli.app import run_app
from relay.config.read import load_policies
from relay.inbound.refusals import REFUSALS
from relay.observe.metrics import OUR_FAULT, Metrics
from relay.policy.alerts import FAST_SHARE, GENERAL, alert_rules, alerts_text

ROOT = pathlib.Path(__file__).parents[2]
FOREIGN = {"process_cpu_seconds_total", "process_resident_memory_bytes", "ALERTS"}
ALWAYS = {"instance", "job"}  # what Prometheus adds to everything it scrapes
SUFFIX = re.compile(r"_(bucket|sum|count)$")
POLICY = """
streams:
  quick: {{pool: main, retry: {{after: [1m], then: 1h, expire: 24h}}, objective: {{within: 10s, for: {share}}}}}
  plain: {{pool: main, retry: {{after: [1m], then: 1h, expire: 48h}}}}
pools: {{main: {{sources: [{{name: s1}}]}}}}
routes: [{{name: all, stream: plain}}]
providers: {{everyone: {{mx: "*"}}}}
"""


def metrics():
    """Name → labels of every metric as it is scraped."""
    found = {}
    for one in vars(Metrics()).values():
        if hasattr(one, "describe") and hasattr(one, "_labelnames"):
            family = next(iter(one.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = {*one._labelnames, *({"le"} if family.type == "histogram" else ())}
    return found


KNOWN = metrics()


def faults(expr, legend=""):
    """What an expression names that does not exist: metrics, labels in braces, labels to group by."""
    wrong, used = [], []
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)
    for name in re.findall(r"\b(relay_\w+|process_\w+)", bare):
        base = name if name in KNOWN else SUFFIX.sub("", name)
        if base in KNOWN:
            used.append(KNOWN[base])
        elif name not in FOREIGN:
            wrong.append(name)
    labels = set().union(*used, ALWAYS)
    for name, inside in re.findall(r"(\w+)\{([^}]*)\}", bare):
        own = KNOWN.get(name, KNOWN.get(SUFFIX.sub("", name), set()))
        wrong += [f"{name}.{label}" for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside) if label not in own]
    for group in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", bare):
        wrong += [label for label in re.split(r"[,\s]+", group) if label and label not in labels]
    return wrong + [label for label in re.findall(r"\{\{(\w+)\}\}", legend) if label not in labels]


def shipped():
    policy, problems = load_policies(ROOT / "policies")
    assert problems == []
    return policy


def built(tmp_path, share):
    (tmp_path / "all.yaml").write_text(POLICY.format(share=share))
    policy, problems = load_policies(tmp_path)
    assert problems == []
    return {rule["alert"] + rule["labels"].get("stream", ""): rule
            for group in alert_rules(policy)["groups"] for rule in group["rules"]}  # fmt: skip


def test_the_shipped_alerts_are_those_of_the_shipped_policies():
    text = (ROOT / "config" / "alerts.yml").read_text()
    assert text == alerts_text(shipped()), "run `relay policy alerts --policies policies --out config/alerts.yml`"


def test_every_alert_speaks_of_metrics_that_exist_and_of_commands():
    rules = [rule for group in alert_rules(shipped())["groups"] for rule in group["rules"]]
    assert len(rules) >= 9
    for rule in rules:
        assert faults(rule["expr"]) == [], rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert (ROOT / rule["annotations"]["runbook"]).is_file()
        assert rule["alert"] in (ROOT / "docs" / "objectives.md").read_text(), "docs/objectives.md lists every alert"


def test_a_stream_without_an_objective_gets_none(tmp_path):
    rules = built(tmp_path, "99.9%")
    assert {name for name in rules if "Objective" in name} == {"RelayObjectiveFastquick", "RelayObjectiveSlowquick"}
    assert "> 176400" in rules["RelayQueueStuckplain"]["expr"]


@pytest.mark.parametrize(
    ("share", "fast", "slow"), [("99.9%", 0.0144, 0.001), ("99%", 0.144, 0.01), ("90%", FAST_SHARE, 0.1)]
)
def test_thresholds_follow_the_promise(tmp_path, share, fast, slow):
    rules = built(tmp_path, share)
    assert rules["RelayObjectiveFastquick"]["expr"].count(f" > {fast:g}\n") == 2
    assert rules["RelayObjectiveSlowquick"]["expr"].count(f" > {slow:g}\n") == 2


def test_no_objectives_no_group(tmp_path):
    (tmp_path / "all.yaml").write_text(re.sub(r", objective: \{.*?\}", "", POLICY.format(share="9%")))
    policy, problems = load_policies(tmp_path)
    assert problems == []
    assert [group["name"] for group in alert_rules(policy)["groups"]] == ["relay"]


def test_the_command_prints_and_writes(tmp_path, capsys):
    folder = str(ROOT / "policies")
    assert run_app(["policy", "alerts", "--policies", folder]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["groups"][0]["name"] == "relay"
    out = tmp_path / "alerts.yml"
    assert run_app(["policy", "alerts", "--policies", folder, "--out", str(out)]) == 0
    assert out.read_text() == (ROOT / "config" / "alerts.yml").read_text()
    assert run_app(["policy", "alerts", "--policies", folder, "--out", str(tmp_path / "no" / "x")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_dashboard_speaks_of_metrics_that_exist():
    board = json.loads((ROOT / "config" / "grafana.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) >= 15
    for panel in panels:
        assert panel["targets"], panel["title"]
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            assert faults(target["expr"], target["legendFormat"]) == [], panel["title"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            assert label in KNOWN[metric]


def test_no_two_panels_lie_on_each_other():
    board = json.loads((ROOT / "config" / "grafana.json").read_text())
    cells = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize(
    ("expr", "wrong"),
    [
        ("relay_nothing", ["relay_nothing"]),
        ('sum by (strm) (relay_queue_recipients{stream="x"})', ["strm"]),
        ('relay_queue_recipients{sate="x"}', ["relay_queue_recipients.sate"]),
        ("rate(relay_commit_seconds_bucket[5m])", []),
    ],
)
def test_the_control_of_these_tests(expr, wrong):
    assert faults(expr) == wrong


def test_refusals_that_are_our_fault_are_there_from_the_start():
    """What has not been refused yet must read 0, or the first refusal is no growth."""
    [rule] = [one for one in GENERAL if one["alert"] == "RelayRefusesMail"]
    assert set(re.search(r'reason=~"([^"]*)"', rule["expr"])[1].split("|")) == set(OUR_FAULT) <= set(REFUSALS)
    for reason in OUR_FAULT:
        assert Metrics().registry.get_sample_value("relay_refused_messages_total", {"reason": reason}) == 0
