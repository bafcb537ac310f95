"""Invariant: no text makes the readers of policies, config or credentials raise; every problem has a place, every policy
that is taken can be asked."""

from __future__ import annotations

from pathlib import Path

from relay.config.model import Config
from relay.inbound.credentials import parse_credentials
from relay.policy.build import build_policy
from relay.policy.strict import load
from relay.policy.validate import validate

ROOT = Path(__file__).parents[3]
FILES = [*sorted((ROOT / "policies").glob("*.yaml")), *sorted((ROOT / "config").glob("*.yaml"))]
SEEDS = [path.read_bytes()[:8000] for path in FILES] + [
    b"a: &a [*a]\n", b"a: 1\na: 2\n", b"<<: {a: 1}\n", b"streams:\n  x: {priority: 1e400}\n", b"routes: [{name: a, if: {}}]\n",
    b"shop: {hash: $argon2id$x, networks: [10.0.0.0/8], rate: 10/min, daily: 5}\n", b"a: 0x" + b"f" * 30, b"? [a]\n: b\n",
    b"shop: {hash: $argon2id$x, streams: [[a]], rate: 1/0}\n",
]  # fmt: skip


def target(data: bytes) -> None:
    text = data[:20_000].decode("utf-8", "surrogateescape")
    node, problems = load(text, "x.yaml")
    assert all(problem.line >= 0 and problem.message for problem in problems)
    if node is not None:
        policy, mistakes = build_policy({"x.yaml": node})
        assert policy is not None or mistakes or problems
        config, mistakes = validate(Config, node, "x.yaml", context={"folder": Path("/nonexistent")})
        assert config is not None or mistakes
    credentials, found = parse_credentials(data[:20_000].decode("utf-8", "replace"), "x.yaml")
    assert all(one.hash.startswith("$argon2id$") for one in credentials.values())
    assert all(str(one) for one in found)
