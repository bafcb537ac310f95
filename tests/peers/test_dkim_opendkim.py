"""The relay's own preparation and signatures, verified by OpenDKIM and by Perl's Mail::DKIM.

Three verifiers that share no code (dkimpy is in the unit ring) must agree on every message. The keys reach
OpenDKIM by its TestPublicKeys file, Mail::DKIM by a stand-in for its DNS query.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.headers import Headers, split_message
from relay.prepare.dkim import Signer, sign
from relay.prepare.keys import KeyRing, generate, record_text
from relay.prepare.message import Edits, Preparer, Refusal

pytestmark = pytest.mark.peers

MAIL_DKIM = r"""
use strict; use warnings;
use Mail::DKIM::Verifier; use Net::DNS::RR;
my $keys = shift @ARGV;
my %keys;
open(my $in, '<', $keys) or die $!;
while (<$in>) { chomp; my ($name, $text) = split / /, $_, 2; $keys{$name} = $text; }
{ no warnings 'redefine';
  *Mail::DKIM::DNS::query = sub {
    my ($name, $type) = @_;
    my @strings = unpack '(a255)*', $keys{$name} // return;
    return Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => \@strings);
  };
}
for my $file (@ARGV) {
  my $dkim = Mail::DKIM::Verifier->new();
  open(my $message, '<:raw', $file) or die $!;
  local $/; $dkim->PRINT(scalar <$message>); $dkim->CLOSE;
  print "$file ", join(',', map { $_->algorithm . '=' . $_->result_detail } $dkim->signatures), "\n";
}
"""


def require(found: bool, what: str) -> None:
    if not found and os.environ.get("RELAY_REQUIRE_PEERS") == "1":
        pytest.fail(f"{what} is needed here (RELAY_REQUIRE_PEERS=1)")
    if not found:
        pytest.skip(f"{what} is not installed")


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> list[Signer]:
    directory = tmp_path_factory.mktemp("keys")
    generate("example.com", "t1", "rsa", directory)
    generate("example.com", "t1e", "ed25519", directory)
    ring = KeyRing(directory)
    both = [ring.find("example.com", "t1", "rsa"), ring.find("example.com", "t1e", "ed25519")]
    return [signer for signer in both if signer]


@pytest.fixture(scope="module")
def key_file(keys, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("public") / "keys"
    path.write_text("".join(f"{k.selector}._domainkey.{k.domain} {record_text(k)}\n" for k in keys))
    return path


@pytest.fixture
def opendkim(key_file, tmp_path):
    """A function: message bytes → {(algorithm): verdict} as OpenDKIM writes into Authentication-Results."""
    program = shutil.which("opendkim", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    require(program is not None, "opendkim")
    conf = tmp_path / "opendkim.conf"
    conf.write_text(
        f"Mode v\nTestPublicKeys {key_file}\nAlwaysAddARHeader yes\nSyslog no\nOn-BadSignature accept\n"
        f"UserID {os.geteuid()}\n"
    )

    def verify(message: bytes) -> dict[str, str]:
        file = tmp_path / "message.eml"
        file.write_bytes(message)
        done = run(program, "-x", conf, "-v", "-v", "-t", file)  # the second -v shows the field it would add
        results = re.findall(r"dkim=(\w+)[^;]*?header\.a=([\w-]+)", done.stdout.replace("\n", " "))
        assert results, done.stdout + done.stderr
        return {algorithm: verdict for verdict, algorithm in results}

    return verify


@pytest.fixture
def mail_dkim(key_file, tmp_path):
    """A function: message bytes → the verdicts of Perl's Mail::DKIM; Debian 12's knows no Ed25519."""
    perl = shutil.which("perl")
    has = perl and run(perl, "-MMail::DKIM::Verifier", "-e", "1").returncode == 0
    require(bool(has), "Mail::DKIM")
    script = tmp_path / "verify.pl"
    script.write_text(MAIL_DKIM)

    def verify(message: bytes) -> dict[str, str]:
        file = tmp_path / "message.eml"
        file.write_bytes(message)
        done = run(perl, script, key_file, file)
        assert done.returncode == 0, done.stderr
        return dict(
            pair.split("=", 1) for pair in done.stdout.split(" ", 1)[1].strip().split(",") if "=" in pair
        )

    return verify


def finished(message: bytes, keys: list[Signer], *, legacy: bool = True, **options) -> bytes | Refusal:
    """The message as it leaves: prepared and signed with both keys."""
    header, body = split_message(message)
    lines = message.split(b"\r\n")
    content = Content(
        header,
        MemoryBody(body),
        eight_bit=not message.isascii(),
        long_lines=max(map(len, lines)) > 998,
    )
    submission = Submission(
        id="01jbjw3k5v00000000a",
        received_at=1_793_611_800.0,
        client=Client("192.0.2.1", 40000, "app.example.com", "apps", protocol="ESMTPS", tls="TLSv1.3"),
        envelope=Envelope("shop@example.com", (Recipient("anna@example.net"),)),
        content=content,
    )
    headers = Headers.parse(header)
    result = Preparer("relay.example.com").prepare(submission, headers, legacy=legacy, **options)
    if isinstance(result, Refusal):
        return result
    return sign(result, headers, keys, 1_793_611_801.0) + b"".join(result.chunks())


HEAD = b"From: Shop <shop@example.com>\r\nTo: anna@example.net\r\nSubject: Your order\r\n"
MESSAGES = {
    "plain": HEAD + b"\r\nHello\r\n",
    "no body": HEAD + b"\r\n",
    "only empty lines": HEAD + b"\r\n\r\n\r\n\r\n",
    "spaces everywhere": HEAD + b"X: a \t b  \r\n\r\n  a \t b \r\n \r\n\t\r\nc\t\r\n\r\n \r\n",
    "folded": HEAD + b"References: <1@a>\r\n\t<2@a>\r\n  <3@a>\r\n\r\nx\r\n",
    "nothing but a body": b"\r\nbackup done\r\n",
    "obsolete colons": b"From : a@example.com\r\nSubject \t: x\r\n \r\nTo: b@example.net\r\n\r\nx\r\n",
    "long header line": HEAD + b"X-Long:" + b" word" * 400 + b"\r\n\r\nx\r\n",
    "8-bit header": HEAD.replace(b"Your order", "Ihre Bestellung: Grüße aus Österreich".encode())
    + b"\r\nx\r\n",
    "8-bit body": HEAD + b"\r\n" + "Grüße\r\n".encode() * 50,
    "long body line": HEAD + b"\r\n" + b"word " * 400 + b"\r\n.\r\n..\r\n",
    "list headers": HEAD
    + b"List-Unsubscribe: <https://example.com/u>\r\n"
    + b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nx\r\n",
    "two of a list header": HEAD + b"List-Id: one\r\nList-Id: two\r\nList-Id: three\r\n\r\nx\r\n",
    "large": HEAD + b"\r\n" + b"a line of text with  two spaces \r\n" * 20_000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_opendkim_verifies_both(name, keys, opendkim):
    assert opendkim(finished(MESSAGES[name], keys)) == {"rsa-sha256": "pass", "ed25519-sha256": "pass"}


@pytest.mark.parametrize("name", MESSAGES)
def test_mail_dkim_verifies_rsa(name, keys, mail_dkim):
    assert mail_dkim(finished(MESSAGES[name], keys)).get("rsa-sha256") == "pass"


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"Your order", b"Your 0rder"), (b"Hello", b"Hell"), (b"From: Shop", b"From: x@y\r\nFrom: Shop")],
)
def test_a_change_is_seen_by_each(old, new, keys, opendkim, mail_dkim):
    changed = finished(MESSAGES["plain"], keys).replace(old, new)
    assert "pass" not in opendkim(changed).values()
    assert mail_dkim(changed)["rsa-sha256"] != "pass"


def test_edits_and_encoding_come_before_the_signature(keys, opendkim, mail_dkim):
    edits = Edits(remove=("X-Mailer",), add=(("X-Campaign", "Grüße, " * 40), ("Feedback-ID", "a:b:c:d")))
    raw = HEAD + b"X-Mailer: old\r\nBcc: secret@example.org\r\n\r\n" + "Grüße\r\n".encode() * 50
    message = finished(raw, keys, edits=edits, eight_bit="encode")
    assert message.isascii()
    assert b"secret" not in message
    assert opendkim(message) == {"rsa-sha256": "pass", "ed25519-sha256": "pass"}
    assert mail_dkim(message)["rsa-sha256"] == "pass"


def corpus() -> list[Path]:
    found = importlib.util.find_spec("test")
    roots = list(found.submodule_search_locations or []) if found else []
    return sorted(path for root in roots for path in Path(root).glob("test_email/data/msg_*.txt"))


@pytest.mark.skipif(not corpus(), reason="this interpreter has no test package")
def test_messages_nobody_here_wrote(keys, opendkim, mail_dkim):
    """Each leaves signed so that both verify it, or is refused for what a large receiver refuses as well."""
    refused = {}
    for path in corpus():
        data = re.sub(rb"\r\n|\r|\n", b"\r\n", path.read_bytes())
        message = finished(data if data.endswith(b"\r\n") else data + b"\r\n", keys)
        if isinstance(message, Refusal):
            refused[path.stem] = message.reason
            continue
        assert opendkim(message) == {"rsa-sha256": "pass", "ed25519-sha256": "pass"}, path.stem
        assert mail_dkim(message).get("rsa-sha256") == "pass", path.stem
    assert len(refused) <= 3, refused
