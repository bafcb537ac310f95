"""`relay` and `python -m relay`: chooses the command before loading what only some commands need.

`serve` and `sendmail` come first: the one stays in memory for months and must not carry the terminal's
libraries, the other starts for every mail a cron job or a PHP page sends. Invoked under the name
`sendmail` (a link in /usr/sbin), the program is `relay sendmail`.
"""

from __future__ import annotations

import sys
from pathlib import PurePath

SENDMAIL_NAMES = ("sendmail", "sendmail.relay")


def main() -> int:
    """Runs the command on sys.argv; returns the exit code (0 done, 1 failed, 2 usage)."""
    program, *arguments = sys.argv
    if PurePath(program).name in SENDMAIL_NAMES:
        arguments.insert(0, "sendmail")
    match arguments:
        case ["sendmail", *rest]:
            from relay.cli.sendmail import run_sendmail  # noqa: PLC0415 - see above

            return run_sendmail(rest, sys.stdin.buffer)
        case ["serve", *rest] if "--help" not in rest:
            from relay.cli.serve import run_serve  # noqa: PLC0415

            return run_serve(rest)
    from relay.cli.app import run_app  # noqa: PLC0415

    return run_app(arguments)


if __name__ == "__main__":
    sys.exit(main())
