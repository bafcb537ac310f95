"""The alert rules that `relay policy alerts` makes, in Prometheus' own hands: they fire when they must, and are
silent when nothing is wrong."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from relay.config.read import load_policies
from relay.policy.alerts import alert_rules

ROOT = pathlib.Path(__file__).parents[2]
DAYS = 4 * 24 * 60
# an objective that could never burn 14.4 times as fast as it may, and a name that needs care
LAX = """
streams:
  "say \\"hi\\" {{ now }}":
    pool: main
    retry: {after: [1m], then: 1h, expire: 24h}
    objective: {within: 1h, for: 90%}
  quiet: {pool: main, retry: {after: [1m], then: 1h, expire: 24h}}
pools: {main: {sources: [{name: s1}]}}
routes: [{name: all, stream: quiet}]
providers: {everyone: {mx: "*"}}
"""
LAX_NAME = '"say \\"hi\\" {{ now }}"'
BUILD = ('relay_build_info{version="1",instance="a"}', "1x{n}")


@pytest.fixture(scope="module")
def promtool():
    program = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if program is None:
        if os.environ.get("RELAY_REQUIRE_PEERS"):
            pytest.fail("promtool is not installed (Debian: prometheus)")
        pytest.skip("promtool is not installed")

    def run(*words, cwd):
        done = subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    shipped, problems = load_policies(ROOT / "policies")
    assert not problems
    (folder / "lax").mkdir()
    (folder / "lax" / "all.yaml").write_text(LAX)
    lax, problems = load_policies(folder / "lax")
    assert not problems
    for name, policy in (("shipped", shipped), ("lax", lax)):
        (folder / f"{name}.yml").write_text(json.dumps(alert_rules(policy)))
    return folder


def test_the_shipped_file_is_valid(promtool):
    code, text = promtool("check", "rules", "config/alerts.yml", cwd=ROOT)
    assert code == 0, text


@pytest.mark.parametrize("name", ["shipped", "lax"])
def test_generated_rules_are_valid(promtool, rules, name):
    code, text = promtool("check", "rules", f"{name}.yml", cwd=rules)
    assert code == 0, text


def objective(stream, *stretches):
    """Counters of a stream: stretches of (minutes, mails a minute, of which good)."""
    good = total = 0
    goods, totals = [], []
    for minutes, mails, of_them in stretches:
        goods.append(f"{good}+{of_them}x{minutes - 1}")
        totals.append(f"{total}+{mails}x{minutes - 1}")
        good, total = good + of_them * minutes, total + mails * minutes
    return [
        (f"relay_objective_good_total{{stream={stream}}}", " ".join(goods)),
        (f"relay_objective_total{{stream={stream}}}", " ".join(totals)),
    ]


CODES = '"transactional"'
SCENARIOS = {
    "all is well for days": (
        "shipped", [BUILD, *objective(CODES, (DAYS, 10, 10)), ("relay_accounting_gap", "0x{n}"),
                    ("relay_reload_success", "1x{n}"),
                    ('relay_queue_oldest_seconds{stream="transactional"}', "80000x{n}"),
                    ('relay_refused_messages_total{reason="disk-full"}', "0x{n}"),
                    ('relay_refused_messages_total{reason="policy"}', "0+9x{n}")], DAYS, set(),
    ),
    "no mail at all": ("shipped", [BUILD, *objective(CODES, (DAYS, 0, 0))], DAYS, set()),
    "half of the codes are late for ten minutes": (
        "shipped", [BUILD, *objective(CODES, (600, 100, 100), (12, 100, 50))], 611, {"RelayObjectiveFast"},
    ),
    "every code is late from the first one on": (
        "shipped", [BUILD, *objective(CODES, (10, 0, 0), (12, 5, 0))], 21, {"RelayObjectiveFast"},
    ),
    "two late codes in a quiet night wake nobody": (
        "shipped", [BUILD, *objective(CODES, (300, 0, 0), (2, 1, 0), (8, 0, 0))], 309, set(),
    ),
    "trouble that is over does not page": (
        "shipped", [BUILD, *objective(CODES, (600, 100, 100), (12, 100, 50), (15, 100, 100))], 626, set(),
    ),
    "a little too much for days is a ticket": (
        "shipped", [BUILD, *objective(CODES, (DAYS, 1000, 998))], DAYS - 30, {"RelayObjectiveSlow"},
    ),
    "exactly as much as promised is none": (
        "shipped", [BUILD, *objective(CODES, (DAYS, 10000, 9995))], DAYS - 30, set(),
    ),
    "a lax objective pages when half of all mail is late": (
        "lax", [BUILD, *objective(LAX_NAME, (70, 100, 40))], 69, {"RelayObjectiveFast", "RelayObjectiveSlow"},
    ),
    "a lax objective does not page for a third": (
        "lax", [BUILD, *objective(LAX_NAME, (70, 100, 67))], 69, {"RelayObjectiveSlow"},
    ),
    "the relay is gone": ("shipped", [(BUILD[0], "1x10 _x{n}")], 20, {"RelayDown"}),
    "the relay is gone for long": ("shipped", [(BUILD[0], "1x10 _x{n}")], 200, {"RelayDown"}),
    "one of two relays is gone": (
        "shipped", [(BUILD[0], "1x10 _x{n}"), (BUILD[0].replace('"a"', '"b"'), "1x{n}")], 20, {"RelayDown"},
    ),
    "an upgrade is no loss": (
        "shipped", [(BUILD[0], "1x10 _x{n}"), (BUILD[0].replace('version="1"', 'version="2"'), "_x10 1x{n}")],
        20, set(),
    ),
    "a recipient is unaccounted for": (
        "shipped", [BUILD, ("relay_accounting_gap", "0x5 -1x{n}")], 20, {"RelayAccountingGap"},
    ),
    "a reload was refused": ("shipped", [BUILD, ("relay_reload_success", "1x5 0x{n}")], 20, {"RelayReloadFailed"}),
    "the disk is full": (
        "shipped", [BUILD, ('relay_refused_messages_total{reason="disk-full"}', "0x10 0+3x{n}")], 14,
        {"RelayRefusesMail"},
    ),
    "commits are slow": (
        "shipped", [BUILD, ('relay_commit_seconds_bucket{le="0.25"}', "0+10x{n}"),
                    ('relay_commit_seconds_bucket{le="1"}', "0+100x{n}"),
                    ('relay_commit_seconds_bucket{le="+Inf"}', "0+100x{n}")], 30, {"RelayDiskSlow"},
    ),
    "a provider turns a source away": (
        "shipped", [BUILD, ('relay_source_paused{source="m1",provider="yahoo"}', "_x5 1x{n}")], 20,
        {"RelaySourcePaused"},
    ),
    "a source that everyone turns away": (
        "shipped", [BUILD, ('relay_source_paused{source="m1",provider=""}', "1x{n}")], 20, {"RelaySourcePaused"},
    ),
    "a short pause is daily business": (
        "shipped", [BUILD, ('relay_source_paused{source="m1",provider="yahoo"}', "_x5 1x3 _x{n}"),
                    ('relay_stream_paused{stream="marketing",provider="yahoo"}', "_x5 1x3 _x{n}")], 9, set(),
    ),
    "a provider wants no newsletters": (
        "shipped", [BUILD, ('relay_stream_paused{stream="marketing",provider="yahoo"}', "1x{n}")], 20,
        {"RelayStreamPaused"},
    ),
    "a brake on a campaign": (
        "shipped", [BUILD, ('relay_brakes{stream="marketing",rule="bounce_rate > 5% over 3600 s by campaign, hold"}',
                            "_x10 1x{n}")], 15, {"RelayStreamBraked"},
    ),
    "a brake that was released": (
        "shipped", [BUILD, ('relay_brakes{stream="marketing",rule="bounces"}', "1x10 _x{n}")], 20, set(),
    ),
    "an operator's pause needs no alert": (
        "shipped", [BUILD, ('relay_brakes{stream="marketing",rule="operator"}', "1x{n}")], 300, set(),
    ),
    "unless it is forgotten": (
        "shipped", [BUILD, ('relay_brakes{stream="marketing",rule="operator"}', "1x{n}")], 800,
        {"RelayPauseForgotten"},
    ),
    "mail outlives its expiry": (
        "shipped", [BUILD, ('relay_queue_oldest_seconds{stream="marketing"}', "262000+60x{n}")], 60,
        {"RelayQueueStuck"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(promtool, rules, tmp_path, scenario):
    file, series, minutes, firing = SCENARIOS[scenario]
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)]
    test = {
        "rule_files": [str(rules / f"{file}.yml")],
        "evaluation_interval": "1m" if minutes < 1000 else "30m",
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": name, "values": values.format(n=minutes)} for name, values in series],
            "promql_expr_test": [{
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minutes}m", "exp_samples": expected,
            }],
        }],
    }  # fmt: skip
    (tmp_path / "test.yml").write_text(json.dumps(test))
    code, text = promtool("test", "rules", "test.yml", cwd=tmp_path)
    assert code == 0, f"{scenario}:\n{text}"
