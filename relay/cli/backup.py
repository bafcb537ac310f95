"""`relay backup` and `relay restore`: a consistent copy of a queue, live or stopped, and the way back."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.control import Control
from relay.cli.failure import Failed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, show_fields, show_json, span
from relay.cli.ownership import give_to_owner
from relay.cli.place import read_config, running_config
from relay.cli.progress import bar

if TYPE_CHECKING:
    from relay.config.model import Config
    from relay.queue.backup import Place
    from relay.queue.manifest import Manifest

RENEW_S = 10.0  # a lease lasts a minute
NO_KEYS = (
    "without keys: keep data/dkim and data/return-path.key elsewhere, or add --with-keys. A relay with other keys"
    " cannot verify reports about mail sent before"
)


def backup(
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is not there yet.")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Also the DKIM keys and the return path's key in the data folder.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Copy the queue as it is now, of a running relay too: mail, spool, limits in force, counts."""
    from relay.queue.backup import back_up

    settings = running_config(config)
    begun = time.monotonic()
    with _source(settings) as (running, beat), _told_failures(), bar("backup", bytes_=True) as show:

        def progress(done: int, total: int) -> None:
            beat()
            show(done, total)

        manifest = back_up(
            _place(settings), target.absolute(), hostname=settings.hostname, keys=with_keys,
            progress=progress, rest=time.sleep if running else lambda _: None,
        )  # fmt: skip
    seconds = time.monotonic() - begun
    if as_json:
        show_json({"folder": str(target.absolute()), **_summary(manifest), "seconds": round(seconds, 3)})
    else:
        show_fields([("backup", target.absolute()), *_lines(manifest), ("took", span(seconds))])
    if not with_keys:
        print(f"relay: {NO_KEYS}", file=sys.stderr)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="What relay backup made.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Put a backup into an empty data folder. Every recipient comes back held; see relay queue release."""
    from relay.queue.restore import restore as put_back

    settings = read_config(config)
    place = _place(settings)
    with _told_failures(), _stopped(settings), bar("restore", bytes_=True) as show:
        like = settings.data.stat()
        give_to_owner(like, settings.data / "lock")
        done = put_back(source.absolute(), place, progress=show, own=lambda path: give_to_owner(like, path))
    if as_json:
        show_json({"folder": str(settings.data), **_summary(done.manifest), "held": done.held,
                   "were_held": done.were_held})  # fmt: skip
        return
    show_fields([("restored into", settings.data), *_lines(done.manifest)])
    print(f"{done.held} recipients are held with the reason `restored`: the relay they came from may have delivered"
          " them since.\nNext: relay serve; relay queue list --state held; relay queue release …")  # fmt: skip


def _place(settings: Config) -> Place:
    from relay.queue.backup import Place

    return Place(settings.queue_file, settings.data / "spool", settings.data)


@contextmanager
def _source(settings: Config) -> Iterator[tuple[bool, Callable[[], None]]]:
    """Whether a relay is running, which then keeps bodies until the block is left, and what renews that; a stopped
    one is kept from starting."""
    from relay.service.lock import Busy

    if not settings.queue_file.is_file():
        raise Failed(f"there is no queue at {settings.queue_file}: has this relay ever run?")
    try:
        with _stopped(settings):
            yield False, lambda: None
            return
    except Busy:
        pass
    control = Control(settings.control_socket)
    lease = str(control.post("copies", {})["lease"])
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > RENEW_S:
            control.post(f"copies/{lease}/renew", {})
            last = time.monotonic()

    try:
        yield True, beat
        control.post(f"copies/{lease}/renew", {})  # or bodies may have gone while they were copied
    finally:
        _end(control, lease)


def _end(control: Control, lease: str) -> None:
    """Gives a lease back; one that is gone ends by itself."""
    try:
        control.post(f"copies/{lease}/end", {})
    except Failed:
        return


@contextmanager
def _stopped(settings: Config) -> Iterator[None]:
    """Holds the data folder, so that no relay starts meanwhile. Raises Busy."""
    from relay.service.lock import data_lock

    try:
        with data_lock(settings.data):
            yield
    except PermissionError as error:
        raise Failed(f"{error.filename}: {error.strerror}: run this as root or as the relay's user") from None


@contextmanager
def _told_failures() -> Iterator[None]:
    """What may go wrong with files, as one message."""
    from relay.queue.restore import NotEmpty
    from relay.queue.store import StoreBroken
    from relay.service.lock import Busy

    try:
        yield
    except (NotEmpty, StoreBroken, Busy) as error:
        raise Failed(str(error)) from None
    except sqlite3.Error as error:
        raise Failed(f"the queue file cannot be read: {error}") from None
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None


def _summary(manifest: Manifest) -> dict[str, object]:
    return {
        "taken_at": manifest.taken_at, "made_by": manifest.made_by, "hostname": manifest.hostname,
        "schema": manifest.schema, "keys": manifest.keys, "figures": dict(manifest.figures),
        "files": len(manifest.files), "bytes": manifest.bytes,
    }  # fmt: skip


def _lines(manifest: Manifest) -> list[tuple[str, object]]:
    figures = manifest.figures
    waiting = f"{figures['queued']} queued and {figures['held']} held recipients of {figures['messages']} messages"
    return [
        ("of", f"{manifest.hostname}, {moment(manifest.taken_at)}, relay {manifest.made_by}"),
        ("holds", waiting),
        ("files", f"{len(manifest.files)}, {manifest.bytes} bytes{', with keys' if manifest.keys else ''}"),
    ]
