"""The command line, put together: one command or group a noun."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from relay import __version__
from relay.cli import (
    backup,
    bench,
    brakes,
    check,
    credential,
    dkim,
    events,
    explain,
    importing,
    limits,
    policy,
    queue,
    replay,
    sandbox,
    send,
    source,
    status,
    stream,
)
from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, noun

app = noun("relay", "A self-hosted SMTP relay. Exit codes: 0 done, 1 failed, 2 wrong usage.")
for group in (policy.app, queue.app, stream.app, brakes.app, source.app, limits.app, dkim.app, credential.app,
              sandbox.app, events.app):  # fmt: skip
    app.add_typer(group)
queue.app.command("import")(importing.import_queue)
policy.app.command("replay")(replay.replay)
app.command("check")(check.check)
app.command("send")(send.send)
app.command("explain")(explain.explain)
app.command("status")(status.status)
app.command("reload")(status.reload)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("bench")(bench.bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"relay {__version__}")
        raise typer.Exit


@app.callback()
def relay(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """A self-hosted SMTP relay. Exit codes: 0 done, 1 failed, 2 wrong usage."""


@app.command("serve")
def serve(config: ConfigOption = None) -> None:
    """Run the relay in the foreground until SIGTERM."""
    from relay.cli.serve import run_serve

    raise typer.Exit(run_serve([] if config is None else ["--config", str(config)]))


@app.command("sendmail", context_settings={"ignore_unknown_options": True})
def sendmail(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[FLAG|ADDRESS]...")] = None,
) -> None:
    """Stand in for /usr/sbin/sendmail: -t -i -f -F and the flags programs give it."""
    from relay.cli.sendmail import run_sendmail

    raise typer.Exit(run_sendmail(arguments or [], sys.stdin.buffer))


def run_app(arguments: list[str]) -> int:
    """Runs a command; returns its exit code. Every failure is one message on stderr."""
    try:
        app(arguments, prog_name="relay", standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except (Failed, Misused) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 2 if isinstance(error, Misused) else 1
    except BrokenPipeError:  # `relay queue list | head` is no failure; silence the flush at exit as well
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0
