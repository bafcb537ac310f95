"""`relay bench`: how fast this machine is with these policies, and what limits it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption
from relay.cli.output import show_table
from relay.cli.place import checked_config, read_config
from relay.cli.progress import bar

if TYPE_CHECKING:
    from relay.cli.traffic import Load
    from relay.cli.trial import Figures
    from relay.config.model import Config

CASES = {"4k-kept": (4096, True, 2000), "4k-new": (4096, False, 2000), "100k-kept": (102_400, True, 400),
         "100k-new": (102_400, False, 400)}  # fmt: skip
WARM_UP = 200
COLUMNS = ("case", "messages/s", "250 after p50", "p99", "CPU a message", "memory peak", "signatures", "limited by")


def bench(
    cases: Annotated[str, typer.Option("--cases", metavar="LIST", help="Some of the cases.")] = ",".join(CASES),
    messages: Annotated[
        int | None, typer.Option("--messages", min=20, max=1_000_000, help="In each run. Default 2000, of 100 KiB 400.")
    ] = None,
    listener: Annotated[str, typer.Option("--listener", metavar="NAME", help="Send as a client of it.")] = "",
    sender: Annotated[str, typer.Option("--sender", metavar="ADDRESS", help="Envelope sender and From.")] = "",
    home: Annotated[
        Path | None, typer.Option("--home", metavar="FOLDER", help="On the disk to measure. Default: the data folder.")
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure there too.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a table for a document there.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Measure a relay of its own with these policies: nothing leaves this machine, no queue is touched."""
    from relay.cli.machine import Trouble, describe

    chosen = _cases(cases, messages)
    settings = read_config(config)
    name = _listener(settings, listener)
    _demand_sound(config)
    sender = sender or _sender(settings)
    folder = home or (settings.data if settings.data.is_dir() else Path(tempfile.gettempdir()))
    try:
        machine = describe(folder)
        runs = _run_all(settings, name, sender, folder, chosen)
    except Trouble as trouble:
        raise Failed(str(trouble)) from None
    except PermissionError as error:
        raise Failed(f"{error.filename}: {error.strerror}: run this as root or as the relay's user") from None
    _show(machine, runs)
    report = {"when": time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime()), "machine": machine, "listener": name,
              "sender": sender, "policies": str(settings.policies), "runs": [asdict(run) for run in runs]}  # fmt: skip
    if as_json is not None:
        as_json.write_text(json.dumps(report, indent=1) + "\n")
    if markdown is not None:
        markdown.write_text(_markdown(report["when"], machine, runs))
    if any(run.error or run.received < run.messages for run in runs):
        raise typer.Exit(1)


def _cases(words: str, messages: int | None) -> dict[str, tuple[int, bool, int]]:
    names = [word for word in words.split(",") if word]
    if not names or (unknown := [word for word in names if word not in CASES]):
        raise Misused(f"no case {unknown[0] if names else words!r}; there are {', '.join(CASES)}")
    return {name: (CASES[name][0], CASES[name][1], messages or CASES[name][2]) for name in names}


def _demand_sound(config: Path | None) -> None:
    """The relay on trial would not start with what `relay check` finds wrong."""
    from relay.config.check import check_all

    problems = check_all(checked_config(config)).problems
    if problems:
        lines = "\n".join(str(problem) for problem in problems)
        raise Failed(f"relay check finds problems; mend them first:\n{lines}")


def _listener(settings: Config, name: str) -> str:
    names = [one for one, listener in settings.listeners.items() if listener.accepts == "mail"]
    if not names or (name and name not in names):
        raise Misused(f"there is no listener {name} for mail; there are {', '.join(names)}")
    return name or names[0]


def _sender(settings: Config) -> str:
    """Somebody whose mail is signed, where there is a key; else of the host's domain."""
    folder = settings.data / "dkim"
    domains = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    domain = domains[0] if domains else settings.hostname.partition(".")[2] or settings.hostname
    return f"bench@{domain}"


def _run_all(
    settings: Config, listener: str, sender: str, home: Path, chosen: dict[str, tuple[int, bool, int]]
) -> list[Figures]:
    from relay.cli.traffic import Load
    from relay.cli.trial import SESSIONS, run_case, started

    runs = []
    with started(settings, listener, home) as trial:
        for name, (size, keep, count) in chosen.items():
            load = Load(count, size, SESSIONS, keep, sender)
            run_case(trial, name, _warm(load), lambda _done, _total: None)
            with bar(name) as told:
                runs.append(run_case(trial, name, load, told))
    return runs


def _warm(load: Load) -> Load:
    from dataclasses import replace

    return replace(load, count=min(WARM_UP, load.count))


def _show(machine: dict[str, Any], runs: Sequence[Figures]) -> None:
    print(f"{machine['cpus']} CPUs ({machine['cpu']}), Python {machine['python']}, fsync"
          f" {1000 * float(machine['fsync_ms']):.0f} µs, load before {machine['load_before']}")  # fmt: skip
    rows = [
        (run.case, f"{run.rate:.0f}", f"{run.accept_p50_ms:.1f} ms", f"{run.accept_p99_ms:.1f} ms",
         f"{run.cpu_us:.0f} µs", f"{run.peak_rss_mb:.0f} MB", run.signatures,
         run.limit if not run.error else f"{run.received} of {run.messages} arrived: {run.error}")
        for run in runs
    ]  # fmt: skip
    show_table(COLUMNS, rows)


def _markdown(when: object, machine: dict[str, Any], runs: Sequence[Figures]) -> str:
    head = (f"{when}, {machine['cpus']} CPUs ({machine['cpu']}), Python {machine['python']}, fsync of 4 KiB"
            f" {machine['fsync_ms']} ms, load before {machine['load_before']}.\n\n")  # fmt: skip
    lines = ["| case | messages/s | 250 after p50 / p99 ms | CPU µs a message | peak MB | signatures | limited by |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| `{run.case}` | {run.rate:.0f} | {run.accept_p50_ms:.1f} / {run.accept_p99_ms:.1f} | {run.cpu_us:.0f}"
        f" | {run.peak_rss_mb:.0f} | {run.signatures} | {run.limit} |"
        for run in runs
    ]  # fmt: skip
    return head + "\n".join(lines) + "\n"
