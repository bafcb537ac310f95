"""What `relay check` looks at: config, policies, keys, credentials, certificates; all errors at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.config.crosscheck import config_notes, unheard
from relay.config.files import Files
from relay.config.model import Config
from relay.config.paths import read_secret
from relay.config.read import load_config, load_policies, read_yaml
from relay.config.sources import check_sources
from relay.inbound.credentials import Credential, parse_credentials
from relay.policy.model import Policy, Signing, Stream
from relay.policy.strict import Problem
from relay.policy.validate import nearest

RENEW = timedelta(days=14)  # a certificate that expires sooner is worth a word


@dataclass(slots=True)
class CheckReport:
    """What was found. The relay starts when there are no `problems`; `notes` are worth reading."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    config: Config | None = None
    policy: Policy | None = None
    credentials: dict[str, Credential] = field(default_factory=dict)
    files: Files = field(default_factory=Files)

    @property
    def ok(self) -> bool:
        """Whether there is nothing that keeps the relay from starting."""
        return not self.problems


def check_all(path: Path | str, *, now: datetime | None = None) -> CheckReport:
    """The report on a config file and all it refers to. `now` (aware) is what certificates are held
    against."""
    report = read_rules(path, Files())
    config = report.config
    if config is None:
        report.problems += _policies_of(Path(path))
        return report
    report.notes += config_notes(config)
    if config.credentials is not None and config.credentials.exists():
        _permissions(report, config.credentials)
    if report.policy:
        _check_streams(report, config, report.policy)
        for stream in report.policy.streams.values():
            for signing in stream.signings:
                _check_signing(report, config, stream, signing)
        report.notes += unheard(config, report.policy)
        check_sources(report.policy, now or datetime.now(UTC), report.problems, report.notes)
    _check_certificate(report, config, now or datetime.now(UTC))
    report.problems = sorted(set(report.problems))
    report.notes = sorted(set(report.notes))
    return report


def read_rules(path: Path | str, files: Files) -> CheckReport:
    """The first part of the report: config, credentials and policies as these files say."""
    report = CheckReport(files=files)
    report.config, problems = load_config(path, files)
    report.problems += problems
    if report.config is not None:
        names = _credentials(report, report.config)
        report.policy, problems = load_policies(report.config.policies, report.config, credentials=names, files=files)
        report.problems += problems
    return report


def _policies_of(path: Path) -> list[Problem]:
    """What is wrong with the policies of a config that is wrong itself, as far as it names them."""
    node, _ = read_yaml(path, str(path))
    folder = node.get("policies") if node else None
    if folder is None or not isinstance(folder.value, str):
        return []
    return load_policies(path.parent / folder.value)[1]


def _credentials(report: CheckReport, config: Config) -> frozenset[str] | None:
    """Reads the accounts into the report. The names of the accounts, None where they cannot be known."""
    if config.credentials is None:
        return frozenset()
    try:
        text = read_secret(config.credentials, report.files)
    except ValueError as error:
        report.problems.append(_at(config, str(error), "", "credentials"))
        return None
    report.credentials, problems = parse_credentials(text, config.credentials.name)
    report.problems += [Problem(one.file, one.line, one.column, one.message, one.hint) for one in problems]
    return None if problems else frozenset(report.credentials)


def _check_streams(report: CheckReport, config: Config, policy: Policy) -> None:
    """Streams that credentials name and no policy has; those of listeners are looked at with the policies."""
    for name, account in report.credentials.items():
        for stream, (line, column) in account.places.items():
            if stream not in policy.streams:
                assert config.credentials is not None
                message = f"{name}: there is no stream `{stream}`"
                hint = nearest(stream, list(policy.streams))
                report.problems.append(Problem(config.credentials.name, line, column, message, hint))


def _at(config: Config, message: str, hint: str, *path: str | int) -> Problem:
    text, _, remedy = message.partition("; ")
    return Problem(*config.place(*path), text, hint or remedy)


def _check_signing(report: CheckReport, config: Config, stream: Stream, signing: Signing) -> None:
    """Whether there is a key for the signature, and each key that is there can be used."""
    keys = list(key_files(config, signing))
    file, _, line = stream.where.rpartition(":")
    if not keys:
        who = "any From domain" if signing.domain == "from" else signing.domain
        message = f"stream `{stream.name}`: no DKIM key for {who}, selector `{signing.selector}`"
        hint = f"run `relay dkim generate` for the domain (looked for {_looked(config, signing)})"
        found = report.problems if signing.required else report.notes
        found.append(Problem(file, int(line), 1, message, hint))
    for path in keys:
        reason = key_fault(path, signing.algorithm)
        if reason:
            report.problems.append(Problem(str(path), 0, 0, reason, "see `relay dkim generate`"))
        else:
            _permissions(report, path)


def key_files(config: Config, signing: Signing) -> Iterator[Path]:
    """The key files there are for a signature."""
    if signing.key:
        candidates = [Path(signing.key)]
    elif signing.domain == "from":
        candidates = sorted((config.data / "dkim").glob(f"*/{signing.selector}.pem"))
    else:
        candidates = [config.dkim_key(signing.domain, signing.selector)]
    return (path for path in candidates if path.is_file())


def _looked(config: Config, signing: Signing) -> str:
    domain = "*" if signing.domain == "from" else signing.domain
    return signing.key or str(config.dkim_key(domain, signing.selector))


def key_fault(path: Path, algorithm: str) -> str:
    """Why a file cannot be used as a DKIM key of the algorithm; "" when it can."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        return f"the key cannot be read: {error.strerror}"
    except (ValueError, TypeError):  # TypeError: it is encrypted
        return "not a private key in PEM form without password"
    kinds: dict[str, type] = {"rsa": RSAPrivateKey, "ed25519": Ed25519PrivateKey}
    if not isinstance(key, kinds[algorithm]):
        return f"the key is not an {algorithm} key, as the stream's `algorithm:` says"
    if isinstance(key, RSAPrivateKey) and key.key_size < 1024:
        return f"an RSA key of {key.key_size} bits is ignored by receivers (RFC 8301 §3.2)"
    return ""


def _permissions(report: CheckReport, path: Path) -> None:
    mode = path.stat().st_mode
    if mode & 0o007:
        report.problems.append(
            Problem(str(path), 0, 0, f"every user may read it (mode {mode & 0o777:o})", f"chmod 640 {path}")
        )


def _check_certificate(report: CheckReport, config: Config, now: datetime) -> None:
    """Whether certificate and key can be used together, and for how long."""
    if config.tls is None:
        return None
    try:
        chain = x509.load_pem_x509_certificates(config.tls.certificate.read_bytes())
        ends = min(one.not_valid_after_utc for one in chain)
        public = chain[0].public_key()
    except (OSError, ValueError) as error:
        return _tls(report, config, "certificate", f"cannot be read: {_reason(error)}")
    try:
        key = load_pem_private_key(config.tls.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        return _tls(report, config, "key", f"cannot be read: {_reason(error)}")
    _permissions(report, config.tls.key)
    if key.public_key() != public:
        _tls(report, config, "key", "does not belong to the certificate")
    if ends <= now:
        _tls(report, config, "certificate", f"expired on {ends:%Y-%m-%d}")
    elif ends - now < RENEW:
        message = f"{config.tls.certificate} expires on {ends:%Y-%m-%d}"
        report.notes.append(_at(config, message, "renew it", "tls", "certificate"))
    return None


def _tls(report: CheckReport, config: Config, key: str, reason: str) -> None:
    assert config.tls is not None, "only asked where there is one"
    message = f"{getattr(config.tls, key)} {reason}"
    report.problems.append(
        _at(config, message, "certificate chain and key must be PEM and a pair", "tls", key)
    )


def _reason(error: Exception) -> str:
    return (error.strerror or "unreadable") if isinstance(error, OSError) else "it is not PEM"
