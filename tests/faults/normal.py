"""The relay with `synchronous=NORMAL`, which it never uses: the control of the power cuts. It does not sync a
commit, and so must lose mail when the power fails; if it did not, the cuts would prove nothing."""

import sqlite3
import sys

from relay.__main__ import main
from relay.queue import opening


class Careless(sqlite3.Connection):
    """A connection that syncs less than it is told to."""

    def execute(self, sql, *values):  # type: ignore[no-untyped-def]
        return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *values)


def connect(*places, **options):  # type: ignore[no-untyped-def]
    return sqlite3.connect(*places, factory=Careless, **options)


class Sqlite:
    """The module, as the opening of the queue sees it."""

    connect = staticmethod(connect)

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        return getattr(sqlite3, name)


if __name__ == "__main__":
    opening.sqlite3 = Sqlite()  # type: ignore[assignment]
    sys.exit(main())
