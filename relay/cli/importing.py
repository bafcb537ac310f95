"""`relay queue import`: takes over what waits in the queue directory of a Postfix that has been stopped."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.control import Control
from relay.cli.failure import Declined, Failed, Misused
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import show_json, show_table
from relay.cli.place import running_config
from relay.cli.progress import bar

if TYPE_CHECKING:
    from relay.core.postfix import QueueFile

QUEUES = ("incoming", "active", "deferred", "hold")
NOT_TAKEN_IN = "maildrop"  # no sender's domain, no Date, no From yet: Postfix's pickup adds them
FILE_MOST = 1 << 30
COLUMNS = ("queue", "id", "sender", "recipients", "outcome", "stream", "why")
SENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one file. `outcome`: imported, known (before), done (nobody is left), refused, unreadable."""

    queue: str
    id: str
    outcome: str
    sender: str = ""
    recipients: int = 0
    done: int = 0
    message: str = ""
    stream: str = ""
    held: bool = False
    signed: bool = False
    why: str = ""

    @property
    def left(self) -> bool:
        """Whether mail in it is still only there."""
        return self.outcome in ("refused", "unreadable")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command was asked for."""

    listener: str
    release: bool
    trial: bool


def import_queue(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Postfix's queue_directory.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide everything, store nothing.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Deliver at once. Without it everything comes in held.")
    ] = False,
    listener: Annotated[
        str, typer.Option("--listener", metavar="NAME", help="The listener that takes Postfix's place.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Also while Postfix runs: mail may go out twice.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take over the mail that waits in a Postfix queue. Files there are neither changed nor deleted."""
    files = queue_files(directory)
    if not force and (pid := running_master(directory)):
        raise Failed(f"Postfix runs on {directory} (master {pid}): stop it first (postfix stop), or what it delivers"
                     " from now on goes out twice. --force goes on all the same")  # fmt: skip
    settings = running_config(config)
    names = [name for name, one in settings.listeners.items() if one.accepts == "mail"]
    wish = Wish(_listener(listener, names), release, dry_run)
    rows = _take_all(Control(settings.control_socket), files, wish)
    _show(rows, dry_run=dry_run, as_json=as_json)
    if unseen := sum(1 for _ in _below(directory / NOT_TAKEN_IN)):
        typer.echo(f"relay: {unseen} files in {directory / NOT_TAKEN_IN} are left: Postfix has not taken them in yet."
                   " Start it with defer_transports = smtp for a moment, then import again", err=True)  # fmt: skip
    if any(row.left for row in rows):
        raise typer.Exit(1)


def _listener(wanted: str, names: list[str]) -> str:
    """The listener whose clients sent the mail: the policies decide as for theirs."""
    if wanted in names:
        return wanted
    if wanted or len(names) != 1:
        raise Misused(f"say which listener takes Postfix's place: --listener {' or '.join(names)}")
    return names[0]


def queue_files(directory: Path) -> list[tuple[str, Path]]:
    """(queue, file) of everything that waits; raises Misused when it is no queue directory, Failed when it cannot
    be read."""
    if not any((directory / name).is_dir() for name in QUEUES):
        raise Misused(f"{directory} is no queue directory of Postfix: there is no {' or '.join(QUEUES)} in it"
                      " (postconf queue_directory names it)")  # fmt: skip
    try:
        return [(queue, path) for queue in QUEUES for path in sorted(_below(directory / queue))]
    except PermissionError as error:
        raise Failed(f"{error.filename}: {error.strerror}: run this as root") from None


def _below(folder: Path) -> Iterator[Path]:
    """Files with the name of a queue id, in the folders that hash_queue_depth makes too; links are not followed."""
    from relay.core.postfix import QUEUE_ID

    for entry in os.scandir(folder) if folder.is_dir() else ():
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and QUEUE_ID.fullmatch(entry.name):
            yield Path(entry.path)


def running_master(directory: Path) -> str:
    """The pid of the Postfix that runs on a queue directory, "" when none does: its master keeps a lock on its pid
    file (postfix-script asks the same way, by `master -t`)."""
    path = directory / "pid" / "master.pid"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}: it cannot be told whether Postfix runs; run this as root") from None
    try:
        for lock in (fcntl.flock, fcntl.lockf):  # Postfix is built with one of the two
            try:
                lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
        return ""
    finally:
        os.close(handle)


def _take_all(control: Control, files: list[tuple[str, Path]], wish: Wish) -> list[Row]:
    rows = []
    with bar("import") as show:
        for number, (queue, path) in enumerate(files, 1):
            rows.append(_take(control, queue, path, wish))
            show(number, len(files))
    return rows


def _take(control: Control, queue: str, path: Path, wish: Wish) -> Row:
    """One file into the relay."""
    from relay.core.postfix import NotQueueFile, read_queue_file

    try:
        found = read_queue_file(_read(path))
    except NotQueueFile as error:
        return Row(queue, path.name, "unreadable", why=str(error))
    except FileNotFoundError:
        return Row(queue, path.name, "done", why="gone meanwhile")
    envelope = found.envelope
    row = Row(queue, path.name, "done", envelope.sender or "<>", len(envelope.recipients), found.done)
    if not envelope.recipients:
        return row
    if found.redirected:
        return _with(row, "refused", why=f"redirected to {found.redirected} (postsuper, or a header check)")
    held = not wish.release or queue == "hold"
    try:
        answer = control.send("import", _request(path.name, found, wish, held=held))
    except Declined as declined:
        return _with(row, "refused", why=str(declined))
    return _with(
        row, answer["outcome"], message=answer["message"], stream=answer["stream"], held=answer["held"],
        signed=answer["signed"], why=answer["reason"],
    )  # fmt: skip


def _with(row: Row, outcome: str, **more: object) -> Row:
    return Row(**{**asdict(row), "outcome": outcome, **more})


def _read(path: Path) -> bytes:
    """The bytes of a file. Raises NotQueueFile for one that is too large."""
    from relay.core.postfix import NotQueueFile

    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_MOST:
            raise NotQueueFile(f"it has {status.st_size} bytes, more than {FILE_MOST}, or is no plain file")
        return file.read()


def _request(queue_id: str, found: QueueFile, wish: Wish, *, held: bool) -> Iterator[bytes]:
    """The envelope as a line of JSON, then the content with its dots doubled and its end."""
    envelope = found.envelope
    head = {
        "origin": f"postfix {queue_id} {found.stamp}", "arrived_at": found.arrived_at, "sender": envelope.sender,
        "recipients": [[one.address, sorted(one.notify), one.orcpt] for one in envelope.recipients],
        "body": envelope.body, "utf8": envelope.utf8, "ret": envelope.ret, "envid": envelope.envid,
        "client": found.client, "helo": found.helo, "user": found.user, "listener": wish.listener,
        "held": held, "trial": wish.trial,
    }  # fmt: skip
    yield json.dumps(head).encode() + b"\n"
    content = (b"\r\n" + found.content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    for start in range(0, len(content), SENT_BYTES):
        yield content[start : start + SENT_BYTES]


def _show(rows: list[Row], *, dry_run: bool, as_json: bool) -> None:
    counts = Counter(row.outcome for row in rows)
    if as_json:
        show_json({"dry_run": dry_run, "counts": dict(counts), "files": [asdict(row) for row in rows]})
        return
    show_table(COLUMNS, [_cells(row) for row in rows], empty="nothing waits there")
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing"
    print(f"{'would be: ' if dry_run else ''}{said}")
    if counts["imported"] and not dry_run and any(row.held for row in rows):
        print("Held mail goes out with: relay queue release --reason 'imported*'")


def _cells(row: Row) -> tuple[object, ...]:
    where = row.stream + (" (held)" if row.held else "")
    people = f"{row.recipients} open, {row.done} done"
    return (row.queue, row.id, row.sender or "-", people, row.outcome, where or "-", row.why or row.message or "-")
