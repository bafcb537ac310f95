"""The benchmark works, short as it is here: every message arrives, every figure is there and possible."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
import yaml

from tests.bench.bench import CASES, arguments, main
from tests.bench.load import Run
from tests.bench.servers import DOMAIN, SELECTOR, make_key
from tests.bench.summary import medians, ratios, row

ROOT = pathlib.Path(__file__).parents[2]
BENCH = [sys.executable, str(ROOT / "tests" / "bench" / "bench.py"), "--relay-only"]
POSTFIX = shutil.which("smtp-source", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture
def home():
    """A folder on a disk, with a name short enough for the Unix socket below it."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder:
        yield pathlib.Path(folder)


def children(pid):
    """Processes below one, at any depth."""
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in found.splitlines())
    below = [one for one, parent in parents.items() if parent == pid]
    return below + [deeper for one in below for deeper in children(one)]


def measured(folder, *words):
    """What it printed, and its figures."""
    flood = "--sizes 200 --floods fast,alone --seconds 2"
    words = ["--messages", "200", "--pairs", "1", "--home", str(folder), "--json", str(folder / "json"),
             "--flood", flood, *words]  # fmt: skip
    done = subprocess.run([*BENCH, *words], cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert os.listdir(folder) == ["json"], "it leaves nothing behind"
    return done.stdout, json.loads((folder / "json").read_text())


def test_it_measures(home):
    printed, figures = measured(home, "--cases", ",".join([*CASES, "latency", "far"]))
    assert figures["traffic"].startswith("smtp-source" if POSTFIX else "Python")
    assert [run["case"] for run in figures["runs"]] == list(CASES)
    for run in figures["runs"]:
        assert (run["server"], run["got"], run["complete"], run["error"]) == ("relay", 200, True, "")
        assert 10 < run["rate"] < 100_000
        assert 0.05 < run["cpu_ms"] < 1000
        assert 20 < run["peak_rss_mb"] < 1000
    assert [sorted(one) for one in figures["summary"].values()] == [["relay"]] * len(CASES)
    [latency] = figures["latency"]
    assert latency["codes"] == 200
    assert 0 < latency["submitted_p50_ms"] <= latency["submitted_p99_ms"]
    assert latency["accepted_p50_ms"] <= latency["submitted_p50_ms"]
    [far] = figures["far"]
    assert far["messages"] == 100
    assert 0.9 < far["round_trips"] < 2, "the next message rides with the dot of the one before"
    assert 20 < figures["memory"]["idle_rss_mb"] < 1000
    assert figures["machine"]["fsync_ms"] > 0
    for case in CASES:
        assert f"\n{case} " in printed


def test_it_floods(home):
    printed, figures = measured(home, "--cases", "flood")
    busy, alone = figures["floods"]
    assert [phase["name"] for phase in busy["phases"]] == ["idle", "injection", "draining"]
    idle = busy["phases"][0]["late"]
    assert (idle["lost"], idle["codes"]) == (0, pytest.approx(10, abs=3))
    assert idle["p50_ms"] <= idle["p99_ms"] <= idle["max_ms"]
    assert (busy["complete"], alone["complete"]) == (True, True)
    assert 10 < alone["rate"] < 100_000
    assert "fast, 200: p99" in printed


def test_it_measures_without_postfix_too(home):
    _, figures = measured(home, "--traffic", "python", "--cases", "4k-kept,100k-kept,4k-new")
    assert figures["traffic"].startswith("Python")
    assert [(run["case"], run["got"], run["complete"]) for run in figures["runs"]] == [
        ("4k-kept", 200, True), ("100k-kept", 200, True), ("4k-new", 200, True)]  # fmt: skip


CONFIG = """
hostname: relay.example.com
data: data
policies: policies
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [10.0.0.0/8], rate: 1/h}
  printers: {bind: "127.0.0.1:2526", auth: none, profile: legacy, networks: [10.0.0.0/8]}
delivery: {mode: mx}
"""
POLICY = {
    "streams": {"main": {"pool": "main", "dkim": [{"domain": DOMAIN, "selector": SELECTOR}],
                         "retry": {"after": ["1m"], "then": "1h", "expire": "1d"}}},
    "pools": {"main": {"sources": [{"name": "m1"}]}},
    "routes": [{"name": "printers", "when": {"listener": "printers"}, "stream": "main"},
               {"name": "all", "stream": "main"}],
    "providers": {"everyone": {"mx": "*"}},
}  # fmt: skip


def bench_command(home, *words):
    command = [sys.executable, "-m", "relay", "bench", "--config", str(home / "relay.yaml"), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_relay_bench_measures_these_policies_and_touches_nothing(home):
    (home / "relay.yaml").write_text(CONFIG)
    (home / "policies").mkdir()
    (home / "policies" / "all.yaml").write_text(yaml.safe_dump(POLICY))
    make_key(home)
    (home / "relay").rename(home / "data")
    words = ["--messages", "40", "--cases", "4k-kept,100k-new", "--json", "out.json", "--markdown", "out.md"]
    done = bench_command(home, *words)
    assert done.returncode == 0, (done.stdout, done.stderr)
    report = json.loads((home / "out.json").read_text())
    assert [run["case"] for run in report["runs"]] == ["4k-kept", "100k-new"]
    for run in report["runs"]:
        assert (run["messages"], run["received"], run["signatures"], run["error"]) == (40, 40, 1, "")
        assert 0 < run["accept_p50_ms"] <= run["accept_p99_ms"]
        assert run["rate"] > 1
        assert run["cpu_us"] > 50
        assert run["limit"]
    assert (report["listener"], report["sender"]) == ("apps", "bench@example.com")
    assert "| `4k-kept` |" in (home / "out.md").read_text()
    assert "LIMITED BY" in done.stdout
    assert sorted(os.listdir(home / "data")) == ["dkim"], "no queue was touched, nothing is left behind"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["--cases", "5k"], 2, "there are 4k-kept"), (["--listener", "x"], 2, "there are apps, printers"),
     ([], 1, "relay check finds problems")],
)  # fmt: skip
def test_relay_bench_says_what_is_wrong(home, words, status, said):
    (home / "relay.yaml").write_text(CONFIG)
    done = bench_command(home, *words)
    assert done.returncode == status
    assert said in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_all_it_started(home, how):
    words = ["--messages", "100000", "--cases", "4k-kept", "--home", str(home)]
    with subprocess.Popen([*BENCH, *words], stdout=subprocess.PIPE, text=True) as bench:
        for line in bench.stdout:
            if line.startswith("case"):
                break
        time.sleep(0.5)  # well inside the warm-up or the run
        started = children(bench.pid)
        bench.send_signal(how)
        time.sleep(0.05)
        bench.send_signal(signal.SIGINT)  # impatience changes nothing
        bench.stdout.read()
        assert bench.wait(30) == 128 + how
    assert started
    assert [pid for pid in started if pathlib.Path(f"/proc/{pid}").exists()] == []
    assert os.listdir(home) == []


@pytest.mark.parametrize("words", [["--cases", "4k-kept,5k"], ["--pairs", "0"], ["--messages", "0"]])
def test_wrong_words(words, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments(words)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def test_a_home_too_deep_for_the_relays_socket_is_said_at_once():
    with pytest.raises(SystemExit, match="may have"):
        main(["--home", "/var/tmp/" + "x" * 70])


def run(server, seconds, cpu_ms, got=100):
    return Run("4k-kept", server, messages=100, got=got, seconds=seconds, cpu_ms=cpu_ms, peak_rss_mb=50, error="")


def test_the_pairs_ratio_is_not_the_ratio_of_medians():
    pairs = [{"relay": run("relay", 1, 1), "peer": run("peer", 2, 4)},
             {"relay": run("relay", 2, 1), "peer": run("peer", 10, 4)},
             {"relay": run("relay", 4, 3), "peer": run("peer", 4, 4)}]  # fmt: skip
    assert medians([pair["relay"] for pair in pairs]) == {"rate": 50, "cpu_ms": 1, "peak_rss_mb": 50}
    assert ratios(pairs, "relay", "peer") == {
        "rate_of_medians": 2, "rate_of_pairs": 2, "cpu_of_medians": 0.25, "cpu_of_pairs": 0.25}  # fmt: skip
    pairs[0] = {"relay": run("relay", 1, 1), "peer": run("peer", 3, 4)}
    assert ratios(pairs, "relay", "peer")["rate_of_pairs"] == 3


def test_what_did_not_arrive_is_said():
    assert "INCOMPLETE: 99 of 100 arrived" in row("4k-kept", [run("relay", 1, 1), run("relay", 1, 1, got=99)])
