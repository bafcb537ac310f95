"""`relay policy`: the policies' own tests, and why one message would be decided as it is."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption, noun
from relay.cli.output import clean, show_json
from relay.cli.place import read_config
from relay.cli.send import read_file

if TYPE_CHECKING:
    from relay.policy.decide import Decision
    from relay.policy.facts import Facts
    from relay.policy.model import Policy

app = noun("policy", "The policies: run their tests, explain a decision.")
Folder = Annotated[Path | None, typer.Option("--policies", metavar="FOLDER", help="Default: the configured one.")]


@app.command("test")
def test(folder: Folder = None, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Run the `tests:` of the policy files."""
    from relay.policy.examples import run_examples

    started = time.perf_counter()
    results = run_examples(read_policy(folder, config))
    failed = [result for result in results if result.problems]
    if as_json:
        show_json([
            {"name": result.name, "where": result.where, "problems": [str(problem) for problem in result.problems]}
            for result in results
        ])
    else:
        for result in results:
            print(f"{'FAILED' if result.problems else 'ok    '} {result.where} {clean(result.name)}")
            for problem in result.problems:
                print(f"       {clean(problem)}")
        print(f"{len(results) - len(failed)} passed, {len(failed)} failed in {time.perf_counter() - started:.2f} s")
    if failed:
        raise typer.Exit(1)


@app.command("explain")
def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE.eml", help="The message; - reads it from input.")],
    sender: Annotated[str | None, typer.Option(help="Envelope sender. Default: the From header's.")] = None,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", help="May be repeated. Default: those of To and Cc.")
    ] = None,
    listener: Annotated[str, typer.Option(help="Listener it came to. Default: the first.")] = "",
    credential: Annotated[str, typer.Option(help="Credential it came with.")] = "",
    client: Annotated[str, typer.Option(help="IP address it came from.")] = "127.0.0.1",
    folder: Folder = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what the policies decide for a message, and the rules that led there."""
    from relay.policy.decide import decide

    policy = read_policy(folder, config)
    facts = read_facts(read_file(file), sender, recipient)
    raise NotImplementedError


def read_policy(folder: Path | None, config: Path | None) -> Policy:
    """The checked policies of a folder or of the configuration; raises Failed with every problem."""
    from relay.config import load_policies

    settings = None if folder and config is None else read_config(config)
    place = folder or (settings.policies if settings else None)
    assert place is not None
    policy, problems = load_policies(place, settings)
    if policy is None:
        raise Failed("the policies have errors:\n" + "\n".join(str(problem) for problem in problems))
    return policy
