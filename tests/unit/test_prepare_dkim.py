"""DKIM signatures, verified by dkimpy, which shares no code with the signer."""

import base64
import importlib.util
import re
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from relay.core.content import Content, MemoryBody
from relay.core.headers import Headers, split_message
from relay.prepare.canonical import relaxed_body_hash, relaxed_header
from relay.prepare.dkim import Signer, cached_plan, sign, signed_data
from relay.prepare.keys import record_text

RSA = Signer("example.com", "t1", generate_private_key(65537, 2048))
ED = Signer("example.com", "t1e", Ed25519PrivateKey.generate())
NOW_S = 1_793_611_800.7
needs_nacl = pytest.mark.skipif(
    importlib.util.find_spec("nacl") is None, reason="dkimpy verifies Ed25519 only with PyNaCl"
)

MESSAGE = (
    b"Received: from app ([192.0.2.1]) by relay.example.com; Mon, 02 Nov 2026 09:30:00 +0000\r\n"
    b"From: Shop <shop@example.com>\r\nTo: anna@example.net\r\nDate: Mon, 02 Nov 2026 09:30:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\nSubject:  Your   order\r\n\t17 is  on its way \r\n"
    b"List-Unsubscribe: <https://example.com/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"\r\n  Dear Anna,\t \r\n\r\nit is  on its way.\r\n \r\n\r\n"
)


def signed(message: bytes, *signers: Signer) -> bytes:
    header, body = split_message(message)
    return sign(Content(header, MemoryBody(body)), Headers.parse(header), signers, NOW_S) + message


def dns(name: bytes, timeout: int = 5) -> bytes:
    return record_text({b"t1": RSA, b"t1e": ED}[name.partition(b".")[0]]).encode()


def verifies(message: bytes, index: int = 0) -> bool:
    try:
        return dkimpy.DKIM(message).verify(idx=index, dnsfunc=dns)
    except dkimpy.DKIMException:
        return False


def tag(message: bytes, name: str) -> str:
    value = Headers.parse(split_message(message)[0]).first("dkim-signature")
    return re.sub(r"\s", "", re.search(rf"(?:^|;)\s*{name}=([^;]*)", value)[1])


def test_rsa_verifies():
    assert verifies(signed(MESSAGE, RSA))


@needs_nacl
def test_two_signatures_verify_each():
    message = signed(MESSAGE, RSA, ED)
    assert verifies(message, 0)
    assert verifies(message, 1)


def test_no_signer_no_field():
    assert signed(MESSAGE) == MESSAGE


def test_ed25519_as_rfc_8463_has_it():
    """Appendix A: the same key over the same bytes gives the very signature printed there."""
    secret = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = Signer("football.example.com", "brisbane", Ed25519PrivateKey.from_private_bytes(secret))
    body = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
    bh = base64.b64encode(relaxed_body_hash([body])).decode()
    assert bh == "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    fields = [
        b"From: Joe SixPack <joe@football.example.com>\r\n",
        b"To: Suzie Q <suzie@shopping.example.net>\r\n",
        b"Subject: Is dinner ready?\r\n",
        b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
        b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n",
    ]
    own = (
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; "
        "i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        f" subject : date : message-id : from : subject : date;\r\n bh={bh};\r\n b="
    )
    data = b"".join(map(relaxed_header, fields)) + relaxed_header(own.encode())[:-2]
    assert base64.b64encode(key.signature(data)).decode() == (
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    )


def test_what_is_signed():
    message = signed(MESSAGE, RSA)
    assert tag(message, "h").split(":") == [
        "from", "from", "to", "to", "subject", "subject", "date", "date", "message-id", "mime-version",
        "content-type", "list-unsubscribe", "list-unsubscribe-post",
    ]  # fmt: skip
    assert tag(message, "t") == "1793611800"
    assert tag(message, "a") == "rsa-sha256"
    assert not re.search(rb"[;\s][lixq]=", message.split(b"b=")[0])


def test_lines_stay_short():
    header = b"".join(b"Content-X%d-Something-Long: 1\r\n" % i for i in range(40))
    long_name = Signer("a-rather-long-name.of-some-subsidiary.example.com", "selector-2026-11", RSA.key)
    for line in signed(header + MESSAGE, RSA, ED, long_name).split(b"\r\n"):
        assert len(line) <= 78 or b"Received" in line
    assert verifies(signed(header + MESSAGE, RSA))


@pytest.mark.parametrize(
    "added",
    [b"From: evil@example.org\r\n", b"Subject: win\r\n", b"To: x@example.org\r\n", b"Date: now\r\n"],
)
def test_nobody_can_add_a_field_that_people_see(added):
    message = signed(MESSAGE, RSA)
    own, _, rest = message.partition(b"Received:")
    assert not verifies(own + added + b"Received:" + rest)
    assert not verifies(own + b"Received:" + rest.replace(b"MIME-Version", added + b"MIME-Version"))


def test_a_missing_to_cannot_be_added():
    message = signed(MESSAGE.replace(b"To: anna@example.net\r\n", b""), RSA)
    assert verifies(message)
    assert not verifies(message.replace(b"Message-ID", b"To: evil@example.org\r\nMessage-ID"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"order", b"0rder"),
        (b"One-Click", b"Two-Click"),
        (b"charset=utf-8", b"charset=utf-7"),
        (b"Dear", b"Deer"),
        (b"way.\r\n", b"way.\r\nand more\r\n"),
    ],
)
def test_a_change_is_seen(old, new):
    message = signed(MESSAGE, RSA)
    assert verifies(message)
    assert not verifies(message.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject:  Your   order\r\n\t17 is", b"SUBJECT : Your order 17\tis"),
        (b"Dear Anna,\t \r\n", b"Dear  Anna,\r\n"),
        (b"Received: from", b"Received: x\r\nReceived: from"),
    ],
)
def test_what_hosts_do_on_the_way_does_no_harm(old, new):
    changed = signed(MESSAGE, RSA).replace(old, new).replace(b"SUBJECT :", b"SUBJECT:")
    assert verifies(changed)


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b"no end", b"." * 70000 + b"\r\n"])
def test_bodies_of_every_form(body):
    assert verifies(signed(MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body, RSA)) or body == b"no end"


def test_of_several_fields_the_lowest_comes_first():
    headers = Headers.parse(b"List-Id: upper\r\nFrom: a@example.com\r\nList-Id: lower\r\n")
    data, h = signed_data(headers)
    assert data == b"from:a@example.com\r\nlist-id:lower\r\nlist-id:upper\r\n"
    assert re.sub(r"\s", "", h) == "h=from:from:to:subject:date:list-id:list-id"


@pytest.mark.parametrize("name", ["List-a;l=0;x", "List-a=b", "Content-Length", "List-" + "x" * 200, "List-"])
def test_a_name_brings_no_tag_into_the_signature(name):
    message = signed(f"{name}: 1\r\n".encode() + MESSAGE, RSA)
    assert verifies(message)
    assert name.lower() not in tag(message, "h").split(":")
    assert not re.search(rb"[;\s][lix]=", message.split(b"b=")[0])


def test_very_many_fields():
    head = b"".join(b"List-X%d: 1\r\nContent-X: %d\r\nX-%d: 1\r\n" % (i, i, i) for i in range(500))
    message = signed(head + MESSAGE, RSA)
    assert verifies(message)
    assert len(tag(message, "h").split(":")) < 100


def test_a_layout_is_planned_once():
    names = (b"from", b"to", b"subject")
    assert cached_plan(names) is cached_plan(names)


def test_a_spooled_body_is_read_once_for_all_signatures():
    class Spool:
        size = 6
        reads = 0

        def chunks(self):
            self.reads += 1
            yield b"abc\r"
            yield b"\n"

    spool, header = Spool(), split_message(MESSAGE)[0]
    fields = sign(Content(header, spool), Headers.parse(header), [RSA, ED], NOW_S)
    assert spool.reads == 1
    assert verifies(fields + header + b"\r\nabc\r\n")


def corpus() -> list[Path]:
    """CPython's own e-mail test data, where the interpreter has its test package."""
    found = importlib.util.find_spec("test")
    roots = list(found.submodule_search_locations or []) if found else []
    return sorted(path for root in roots for path in Path(root).glob("test_email/data/msg_*.txt"))


def network_form(data: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)


@pytest.mark.skipif(not corpus(), reason="this interpreter has no test package")
@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_messages_nobody_here_wrote(path):
    header, body = split_message(network_form(path.read_bytes()))
    if not Headers.parse(header).count("from"):  # RFC 6376 §5.4: From must be signed
        header = b"From: a@example.com\r\n" + header
    message = header + b"\r\n" + body.removesuffix(b"\r\n") + b"\r\n"
    assert verifies(signed(message, RSA))
