"""`relay policy`: the policies' own tests, and why one message would be decided as it is."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption, noun
from relay.cli.output import clean, show_json
from relay.cli.place import read_config
from relay.cli.send import read_file
from relay.cli.sendmail import addresses_in, header_recipients
from relay.core.headers import Headers, split_message

if TYPE_CHECKING:
    from relay.config.model import Config
    from relay.inbound.standing import Standing
    from relay.policy.decide import Decision
    from relay.policy.facts import Facts
    from relay.policy.model import Policy

app = noun("policy", "The policies: run their tests, explain a decision.")
Folder = Annotated[Path | None, typer.Option("--policies", metavar="FOLDER", help="Default: the configured one.")]


@app.command("test")
def run_tests(folder: Folder = None, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Run the `tests:` of the policy files, as a test runner does."""
    from relay.policy.examples import run_examples

    started = time.perf_counter()
    results = run_examples(read_policies(folder, config)[1])
    failed = [result for result in results if not result.passed]
    if as_json:
        show_json([asdict(result) for result in results])
    else:
        for result in results:
            print(clean(f"{'ok    ' if result.passed else 'FAILED'} {result.where} {result.name}"))
            for line in (*result.differences, *result.trail):
                print(clean(f"       {line}"))
        took_s = time.perf_counter() - started
        print(f"{len(results) - len(failed)} passed, {len(failed)} failed in {took_s:.2f} s")
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
    from relay.policy.explain import explain_lines
    from relay.policy.guarding import checked

    settings, policy = read_policies(folder, config)
    origin = Origin(client, listener or next(iter(settings.listeners), "") if settings else listener, credential)
    message = read_file(file)
    facts = read_facts(message, sender, recipient, origin, settings)
    decision = checked(policy, decide(policy, facts, explain=True), facts.headers, len(facts.recipients))
    if as_json:
        show_json(decision_dict(decision))
        return
    for line in explain_lines(decision):
        print(clean(line))


@app.command("alerts")
def write_alerts(
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: print them.")] = None,
    folder: Folder = None,
    config: ConfigOption = None,
) -> None:
    """Make Prometheus alert rules from the policies: objectives, queue, disk, the relay itself."""
    from relay.policy.alerts import alerts_text

    text = alerts_text(read_policies(folder, config)[1])
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{out} cannot be written: {error.strerror}") from None
    print(f"wrote {out}; load it with rule_files: in prometheus.yml, check it with promtool check rules {out}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message would have come from."""

    client: str
    listener: str
    credential: str


def read_policies(folder: Path | None, config: Path | None) -> tuple[Config | None, Policy]:
    """The checked policies of a folder (alone, unless a configuration is named too) or of the
    configuration; raises Failed with every problem."""
    from relay.config.read import load_policies

    settings = read_config(config) if config is not None or folder is None else None
    place = folder or (settings.policies if settings else Path())
    policy, problems = load_policies(place, settings)
    if policy is None:
        raise Failed("the policies have errors:\n" + "\n".join(str(problem) for problem in problems))
    return settings, policy


def read_facts(
    message: bytes, sender: str | None, recipients: list[str] | None, origin: Origin, settings: Config | None
) -> Facts:
    """What the policies would know of the message; what is not given is read from its header."""
    from relay.policy.facts import Facts

    try:
        ip_address(origin.client)
    except ValueError:
        raise Misused(f"--client {origin.client!r} is no IP address") from None
    headers = Headers.parse(split_message(message)[0])
    standing = stream_rights(origin, settings)
    wanted = headers.first("x-relay-stream") or ""
    return Facts(
        listener=origin.listener,
        client=origin.client,
        credential=origin.credential,
        sender=next(iter(addresses_in(headers.all("from"))), "") if sender is None else sender.strip("<>"),
        recipients=tuple(recipients or addresses_in(header_recipients(headers))),
        headers=headers,
        size=len(message),
        hour=time.gmtime().tm_hour,
        chosen_stream=wanted if wanted in standing.choices else "",
        forced_stream=standing.stream,
    )


def stream_rights(origin: Origin, settings: Config | None) -> Standing:
    """The stream that credential or listener force, and those X-Relay-Stream may choose."""
    from relay.inbound.standing import NO_STANDING, Standing, together

    if settings is None:
        return NO_STANDING
    listener = settings.listeners.get(origin.listener)
    if listener is None:
        raise Misused(f"no listener is called {origin.listener!r}; there are: {', '.join(settings.listeners)}")
    here = Standing(listener.stream, tuple(listener.streams))
    if not origin.credential:
        return here
    from relay.inbound.credentials import load_credentials

    known, _ = load_credentials(str(settings.credentials)) if settings.credentials else ({}, [])
    if origin.credential not in known:
        raise Misused(f"no credential is called {origin.credential!r}; there are: {', '.join(known) or 'none'}")
    account = known[origin.credential]
    return together(here, Standing(account.stream, account.streams))


def decision_dict(decision: Decision) -> dict[str, object]:
    """A decision for programs."""
    return {
        "route": decision.route,
        "where": decision.where,
        "stream": decision.stream.name if decision.stream else None,
        "pool": decision.stream.pool if decision.stream else None,
        "refusal": str(decision.refusal) if decision.refusal else None,
        "hold": decision.hold,
        "tags": dict(decision.tags),
        "headers_remove": list(decision.headers_remove),
        "headers_add": [list(pair) for pair in decision.headers_add],
        "trail": [asdict(step) for step in decision.trail],
    }
