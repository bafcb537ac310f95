"""`relay send`: hands one message to the running relay, as a program would."""

from __future__ import annotations

import getpass
import re
import sys
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import show_json
from relay.cli.place import running_config
from relay.cli.submit import Listens, Refused, Unreachable, plain_listener, submit

if TYPE_CHECKING:
    from relay.config.model import Config

TEXT = "This message was written by relay send.\n"


def send(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.eml]", help="A message; - reads it from input.")] = None,
    to: Annotated[list[str] | None, typer.Option("--to", metavar="ADDRESS", help="Recipient; may be repeated.")] = None,
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Sender. Default: you at this domain.")] = "",
    subject: Annotated[str, typer.Option(help="Subject of a message written here.")] = "A test from relay send",
    stream: Annotated[str, typer.Option(help="Ask for this stream (X-Relay-Stream).")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Hand a message to the running relay by SMTP; prints its reply and what to look at next."""
    if not to:
        raise Misused("relay send wants --to ADDRESS")
    settings = running_config(config)
    sender = sender or default_sender(settings.hostname)
    message = read_file(file) if file else write_message(sender, to, subject)
    if stream:
        message = stream_field(stream) + message
    try:
        receipt = submit(listener_address(settings), sender, to, message)
    except (Refused, Unreachable) as error:
        raise Failed(str(error)) from None
    if as_json:
        show_json({"reply": receipt.reply, "message": receipt.message})
        return
    print(receipt.reply)
    if receipt.message:
        print(f"next: {next_step(settings.delivery.mode, receipt.message)}")


def default_sender(hostname: str) -> str:
    """The calling user at the domain above the relay's host name: me@example.com on relay.example.com."""
    parent = hostname.partition(".")[2]
    return f"{getpass.getuser()}@{parent if '.' in parent else hostname}"


def write_message(sender: str, to: list[str], subject: str) -> bytes:
    """A short message in network form; Date and Message-ID are left to the relay."""
    message = EmailMessage(policy=SMTP)
    try:
        message["From"], message["To"], message["Subject"] = sender, ", ".join(to), subject
    except ValueError as error:
        raise Misused(str(error)) from None
    message.set_content(TEXT)
    return message.as_bytes()


def read_file(path: Path) -> bytes:
    """A message file (or standard input for "-") with CRLF line ends."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Failed(f"cannot read {path}: {error.strerror}") from None
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)


def stream_field(stream: str) -> bytes:
    """The header that asks for a stream; raises Misused for a name that could not be one."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", stream):
        raise Misused(f"{stream!r} is no stream's name: letters, digits, '.', '-' and '_'")
    return f"X-Relay-Stream: {stream}\r\n".encode()


def next_step(mode: str, message: str) -> str:
    """The command that shows what came of it."""
    return f"relay sandbox show {message}" if mode == "sandbox" else f"relay explain {message}"


def listener_address(settings: Config) -> tuple[str, int]:
    """Where this machine may submit without a credential."""
    return plain_listener(
        [
            Listens(str(one.bind), one.tls, one.auth, tuple(str(network) for network in one.networks))
            for one in settings.listeners.values()
        ]
    )
