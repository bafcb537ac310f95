"""`relay explain`: why a message waits, or what limits a destination now."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.options import ConfigOption, JsonOption, control_of
from relay.cli.output import ago, clean, moment, show_json


def explain(
    what: Annotated[str, typer.Argument(metavar="ID-or-DOMAIN")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say why a message waits, or what limits a destination now: one reason, its rule, until when."""
    answer = control_of(config).get("explain", {"of": what})
    if as_json:
        show_json(answer)
        return
    print(clean(answer["subject"]))
    print(f"  why    {clean(answer['reason'])}")
    if answer["rule"]:
        print(f"  rule   {clean(answer['rule'])}")
    if answer["until"] is not None:
        print(f"  until  {moment(answer['until'])} ({ago(answer['until'])})")
    for line in answer["detail"]:
        print(f"         {clean(line)}")
