"""`relay dkim`: signing keys, and the DNS records that go with them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption, noun
from relay.cli.output import clean, show_json, show_table
from relay.cli.ownership import give_to_owner
from relay.cli.place import read_config

if TYPE_CHECKING:
    from dns.resolver import Resolver

    from relay.prepare.dkim import Signer

app = noun("dkim", "Signing keys, and the DNS records that go with them.")
Domain = Annotated[str, typer.Argument(metavar="DOMAIN")]
Selector = Annotated[str, typer.Argument(metavar="SELECTOR")]
MaybeSelector = Annotated[str, typer.Argument(metavar="[SELECTOR]", help="Default: all of the domain.")]
Folder = Annotated[Path | None, typer.Option("--keys", metavar="FOLDER", help="Default: dkim in the data folder.")]
DNS_S = 10.0  # one question with its retries


class Algorithm(StrEnum):
    """Kinds of key (RFC 6376 §3.3.1, RFC 8463)."""

    RSA = "rsa"
    ED25519 = "ed25519"


@app.command("generate")
def generate(
    domain: Domain,
    selector: Selector,
    algorithm: Annotated[Algorithm, typer.Option(help="rsa has 2048 bits.")] = Algorithm.RSA,
    folder: Folder = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a key and print the DNS record to publish. An existing key is never replaced."""
    from relay.prepare import keys

    place = _folder(folder, config)
    try:
        path = keys.generate(domain, selector, "rsa" if algorithm is Algorithm.RSA else "ed25519", place)
        if folder is None:
            give_to_owner(place.parent.stat(), place, path.parent, path)
    except FileExistsError:
        raise Failed(f"there is a key already: see it with relay dkim show {domain} {selector}") from None
    except ValueError as error:
        raise Misused(str(error)) from None
    except OSError as error:
        raise Failed(f"cannot write the key into {place}: {error.strerror}") from None
    signer = _key(path, domain)
    if as_json:
        show_json({"file": str(path), **_record(signer)})
        return
    print(f"wrote {path}")
    print("publish:")
    print(keys.dns_record(signer))


@app.command("show")
def show(
    domain: Domain,
    selector: MaybeSelector = "",
    folder: Folder = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Print the DNS records of a domain's keys, as lines of a zone file."""
    from relay.prepare import keys

    signers = _keys(_folder(folder, config), domain, selector)
    if as_json:
        show_json([_record(signer) for signer in signers])
        return
    for signer in signers:
        print(keys.dns_record(signer))


@app.command("check")
def check(
    domain: Domain,
    selector: MaybeSelector = "",
    folder: Folder = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare the published records of a domain with its keys; exit code 1 when one does not fit."""
    signers = _keys(_folder(folder, config), domain, selector)
    resolver = _resolver(config, optional=folder is not None)
    verdicts = [(signer, _verdict(signer, resolver)) for signer in signers]
    if as_json:
        show_json([{**_record(signer), "problem": problem} for signer, problem in verdicts])
    else:
        show_table(
            ("selector", "algorithm", "published record"),
            [(signer.selector, signer.algorithm, problem or "fits the key") for signer, problem in verdicts],
        )
    if any(problem for _, problem in verdicts):
        raise typer.Exit(1)


def _folder(given: Path | None, config: Path | None) -> Path:
    return given or read_config(config).data / "dkim"


def _keys(folder: Path, domain: str, selector: str) -> list[Signer]:
    """The named key, or every key of the domain; raises Failed when there is none that can be read."""
    if selector:
        return [_key(folder / domain / f"{selector}.pem", domain)]
    paths = sorted((folder / domain).glob("*.pem"))
    if not paths:
        raise Failed(f"no key in {folder / domain}: make one with relay dkim generate {domain} SELECTOR")
    return [_key(path, domain) for path in paths]


def _key(path: Path, domain: str) -> Signer:
    from relay.prepare.keys import read_key

    found = read_key(path, domain, path.stem)
    if found.signer is None:
        raise Failed(found.problem)
    return found.signer


def _record(signer: Signer) -> dict[str, str]:
    from relay.prepare.keys import record_text

    name = f"{signer.selector}._domainkey.{signer.domain}"
    return {
        "selector": signer.selector,
        "algorithm": signer.algorithm,
        "name": name,
        "txt": record_text(signer),
    }


def _resolver(config: Path | None, *, optional: bool) -> Resolver:
    """The configured servers, else the system's; `optional` lets a missing configuration be."""
    import dns.nameserver
    import dns.resolver

    servers = [] if optional and config is None else read_config(config).dns.servers
    try:
        resolver = dns.resolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        raise Failed(f"the system names no DNS server ({error}): set dns: {{servers: [...]}}") from None
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(one.host, one.port) for one in servers]
    resolver.lifetime = DNS_S
    return resolver


def _verdict(signer: Signer, resolver: Resolver) -> str | None:
    """None when the published record fits, else what is wrong."""
    import dns.exception
    import dns.resolver

    from relay.prepare.keys import public_record_matches

    name = f"{signer.selector}._domainkey.{signer.domain}."
    try:
        answer = resolver.resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return f"not published: {name} has no TXT record; publish what relay dkim show prints"
    except dns.exception.DNSException as error:
        return f"the DNS did not answer: {clean(error)}"
    records = [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
    if len(records) > 1:  # RFC 6376 §3.6.2.2: the result is undefined
        return f"{name} has {len(records)} TXT records; keep one"
    return public_record_matches(records[0], signer)
