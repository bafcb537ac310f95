"""`relay credential`: one account for each application that sends mail.

The password is shown once; the file holds its argon2id hash. Changes count from the next reload.
"""

from __future__ import annotations

import getpass
import stat
import sys
import time
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption, YesOption, noun
from relay.cli.output import ask_yes, show_json, show_table
from relay.cli.ownership import give_to_owner
from relay.cli.place import read_config

if TYPE_CHECKING:
    from relay.core.quota import Pace
    from relay.inbound.credentials import Credential

app = noun("credential", "Accounts of the applications that send mail.")
Name = Annotated[str, typer.Argument(metavar="NAME")]
Globs = Annotated[list[str] | None, typer.Option("--senders", metavar="GLOB", help="Addresses it may send as.")]
Networks = Annotated[list[str] | None, typer.Option("--network", metavar="CIDR", help="Where it may be used.")]
RELOAD = "it counts after: relay reload"


@app.command("add")
def add(
    name: Name,
    senders: Globs = None,
    stream: Annotated[str, typer.Option(help="All its mail goes to this stream.")] = "",
    may_choose: Annotated[
        list[str] | None,
        typer.Option("--may-choose", metavar="STREAM", help="Streams X-Relay-Stream may name."),
    ] = None,
    network: Networks = None,
    rate: Annotated[str, typer.Option(metavar="N/min", help="Recipients in any second, minute, hour.")] = "",
    daily: Annotated[int, typer.Option(min=0, help="Recipients a day (UTC); 0: no limit.")] = 0,
    send_ahead: Annotated[
        str, typer.Option(metavar="7d", help="How far ahead X-Relay-Send-At may be.")
    ] = "",
    note: Annotated[str, typer.Option(help="Whose it is.")] = "",
    password_file: Annotated[
        Path | None,
        typer.Option(help="Take the password from the first line of a file; - is standard input."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add an account; its new password is shown once."""
    from relay.inbound.credentials import Credential, hash_password, new_password

    _check_names(name, stream, may_choose)
    path, known = _read(config)
    if name in known:
        raise Failed(f"there is an account {name} already: remove it first, or choose another name")
    networks = _networks(network or [])
    pace = _pace(rate)
    password = _given_password(password_file) if password_file else new_password()
    known[name] = Credential(
        name=name,
        hash=hash_password(password),
        senders=tuple(senders or ()),
        stream=stream,
        streams=tuple(may_choose or ()),
        networks=networks,
        rate=pace,
        daily=daily,
        send_ahead=_duration(send_ahead),
        note=note,
        created=time.strftime("%Y-%m-%d", time.gmtime()),
    )
    _write(path, known)
    _show_new(name, None if password_file else password, path, as_json=as_json)


@app.command("list")
def list_credentials(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the accounts and what each may do."""
    _, known = _read(config)
    rows: list[dict[str, Any]] = [
        {
            "name": one.name,
            "senders": list(one.senders),
            "stream": one.stream,
            "may_choose": list(one.streams),
            "networks": [str(network) for network in one.networks],
            "rate": one.rate.text if one.rate else "",
            "daily": one.daily,
            "send_ahead": one.send_ahead,
            "created": one.created,
            "note": one.note,
        }
        for _, one in sorted(known.items())
    ]
    if as_json:
        show_json(rows)
        return
    show_table(
        ("name", "senders", "stream", "networks", "limits", "created", "note"),
        [
            (
                row["name"],
                ", ".join(row["senders"]) or "any",
                row["stream"] or (f"chooses: {', '.join(row['may_choose'])}" if row["may_choose"] else "by policy"),
                ", ".join(row["networks"]) or "anywhere",
                _limits(row["rate"], row["daily"]),
                row["created"] or "-",
                row["note"] or "-",
            )
            for row in rows
        ],
        empty="there are no accounts: relay credential add NAME",
    )


@app.command("remove")
def remove(name: Name, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Remove an account."""
    path, known = _read(config)
    if name not in known:
        raise Failed(_unknown(name, known))
    if not yes:
        if not sys.stdin.isatty():
            raise Misused("relay credential remove asks before it acts; without a terminal say --yes")
        if not ask_yes(f"remove {name}? Mail with this account will be refused."):
            raise typer.Exit(1)
    del known[name]
    _write(path, known)
    print(f"removed {name}; {RELOAD}")


@app.command("check")
def check(
    name: Name,
    password_file: Annotated[
        Path | None, typer.Option(help="The password is the first line of a file; - is standard input.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Say whether a password is the account's."""
    from relay.inbound.credentials import verify

    _, known = _read(config)
    if name not in known:
        raise Failed(_unknown(name, known))
    password = _given_password(password_file) if password_file else getpass.getpass(f"password of {name}: ")
    if not verify(known[name].hash, password):
        raise Failed(f"that is not the password of {name}")
    print(f"that is the password of {name}")


def _check_names(name: str, stream: str, may_choose: list[str] | None) -> None:
    from relay.inbound.credentials import NAME

    if not NAME.fullmatch(name):
        raise Misused(f"{name!r} is no account name: letters, digits and . _ @ + -, at most 128")
    if stream and may_choose:
        raise Misused("give --stream or --may-choose, not both")


def _networks(given: list[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(one, strict=False) for one in given)
    except ValueError as error:
        raise Misused(f"--network: {error}; write 10.0.5.0/24 or one address") from None


def _pace(text: str) -> Pace | None:
    from relay.policy.quota import parse_pace

    try:
        return parse_pace(text) if text else None
    except ValueError as error:
        raise Misused(f"--rate: {error}") from None


def _duration(text: str) -> str:
    from relay.policy.quantities import parse_duration

    try:
        parse_duration(text or "0s")
    except ValueError as error:
        raise Misused(f"--send-ahead: {error}") from None
    return text


def _show_new(name: str, password: str | None, path: Path, *, as_json: bool) -> None:
    """Says what was made; a password that was given is not repeated."""
    if as_json:
        show_json({"name": name, "password": password, "file": str(path)})
        return
    print(f"user      {name}")
    if password is not None:
        print(f"password  {password}")
        print("The password is shown this once.")
    print(f"written to {path}; {RELOAD}")


def _read(config: Path | None) -> tuple[Path, dict[str, Credential]]:
    from relay.inbound.credentials import load_credentials

    settings = read_config(config)
    if settings.credentials is None:
        raise Failed(f"{settings.file} names no credentials file: add `credentials: credentials.yaml` to it")
    known, problems = load_credentials(str(settings.credentials))
    if problems:
        raise Failed("the credentials file has errors:\n" + "\n".join(str(problem) for problem in problems))
    return settings.credentials, known


def _write(path: Path, known: dict[str, Credential]) -> None:
    """Replaces the file, keeping its mode; its owner becomes that of the folder, or stays."""
    from relay.inbound.credentials import save_credentials

    before = (path if path.exists() else path.parent).stat()
    mode = stat.S_IMODE(before.st_mode) if path.exists() else 0o640
    try:
        save_credentials(str(path), known)
        path.chmod(mode)
        give_to_owner(before, path)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}") from None


def _limits(rate: str, daily: int) -> str:
    return ", ".join([one for one in (rate, f"{daily}/day" if daily else "") if one]) or "none"


def _given_password(path: Path) -> str:
    try:
        text = sys.stdin.readline() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"cannot read the password from {path}: {error}") from None
    password = text.partition("\n")[0].rstrip("\r")
    if not password:
        raise Failed(f"no password in the first line of {path}")
    return password


def _unknown(name: str, known: dict[str, Credential]) -> str:
    return f"no account {name}: there are {', '.join(sorted(known)) or 'none'}"
