"""A held-out corpus: mail as other software sends it, written before the detector it measures was read.

Nothing here was used to tune anything. It has three kinds:

  transactional  one person asked for it or it concerns one person's own affair; it must never be taken for bulk
  notice         wanted, but the same words go to many on purpose (a watched ticket, an all-hands invitation,
                 "your statement is ready"); by its content alone nobody can tell it from an announcement
  bulk           newsletters, campaigns, cold outreach, announcements, with the personalisation that senders use;
                 without List-* or Precedence, for headers are another detector's matter

`days(seed)` gives the flows; each is one sender's mail with its times. Same seed, same bytes.
"""

# ruff: noqa: E501, SIM905 - templates are kept as long as mail's paragraphs are, word lists as words

import base64
import binascii
import html as entities
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

FIRST = (
    "Anna Ben Carla David Elif Farid Grace Hannes Irina Jonas Kim Lucía Marek Nadia Oleg Priya Quentin Rosa Sven Tomoko"
    " Umut Vera Wei Ximena Yara Zoltan Björn Chloé Dmitri Émilie François Gülşen Håkon Ingrid José Katarzyna Liam Maëlle"
).split()
LAST = (
    "Müller Schmidt Johnson García Kowalski Nguyen Rossi Dubois Tanaka Öztürk Andersson Novak Silva Patel Haddad Kim"
    " O'Brien van-Dijk Popescu Ivanova Lindqvist Fischer Moreau Santos Wagner Okafor Petrov Jensen Bianchi Costa"
).split()
DOMAINS = "gmail.com outlook.com yahoo.com icloud.com web.de gmx.net orange.fr libero.it wp.pl proton.me".split()
CITIES = "Berlin Lyon Kraków Porto Leeds Turin Malmö Graz Ghent Utrecht Bilbao Aarhus Tampere Brno Cork".split()
STREETS = "Lindenallee,Rue des Lilas,Mill Lane,Via Roma,Calle Mayor,Station Road,Kirchweg,Storgatan,Dorpsstraat".split(",")


@dataclass(frozen=True, slots=True)
class Person:
    first: str
    last: str
    email: str
    city: str
    street: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


@dataclass(frozen=True, slots=True)
class Sent:
    """One message handed in `at` seconds after the flow's beginning, for `recipient`."""

    at: float
    recipient: str
    raw: bytes


Writer = Callable[[Random, Person], bytes]


@dataclass(frozen=True, slots=True)
class Flow:
    """One sender's mail of one sort: `sort` names the row of the table, `sender` whose it is."""

    kind: str
    sort: str
    sender: str
    write: Writer
    times: tuple[float, ...]
    team: int = 0  # > 0: the recipients are these few people, again and again
    seed: int = 0

    def mails(self) -> Iterator[Sent]:
        """The flow's messages in order of time."""
        r = Random(f"{self.sort}/{self.sender}/{self.seed}")
        team = [person(r) for _ in range(self.team)]
        for at in self.times:
            who = r.choice(team) if team else person(r)
            yield Sent(at, who.email, self.write(r, who))


def person(r: Random) -> Person:
    first, last = r.choice(FIRST), r.choice(LAST)
    ascii_name = "".join(c for c in f"{first}.{last}".lower() if c.isascii() and c != "'")
    email = f"{ascii_name}{r.randrange(10_000)}@{r.choice(DOMAINS)}"
    return Person(first, last, email, r.choice(CITIES), f"{r.choice(STREETS)} {r.randrange(1, 180)}")


# --- when mail is sent ---------------------------------------------------------------------------------------------


def trickle(r: Random, count: int, over: float, start: float = 0.0) -> tuple[float, ...]:
    """A quiet day: `count` messages at random instants within `over` seconds."""
    return tuple(sorted(start + r.random() * over for _ in range(count)))


def peak(r: Random, count: int, over: float, start: float = 0.0) -> tuple[float, ...]:
    """A rush with a middle: a login storm, a sale that opens."""
    return tuple(sorted(start + over * min(max(r.gauss(0.5, 0.18), 0.0), 1.0) for _ in range(count)))


def batch(count: int, a_second: float, start: float = 0.0) -> tuple[float, ...]:
    """What a job writes: one after the other at a steady rate."""
    return tuple(start + n / a_second for n in range(count))


# --- how software writes a message -----------------------------------------------------------------------------------


def encoded_word(text: str) -> str:
    if text.isascii():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="


def headers(r: Random, sender: str, who: Person, subject: str, *more: str) -> str:
    """The head as most libraries write it; `sender` is a mailbox with or without a display name."""
    domain = sender.rstrip(">").rpartition("@")[2]
    shown = r.choice((who.email, f"{encoded_word(who.name)} <{who.email}>"))
    lines = [
        f"From: {sender}",
        f"To: {shown}",
        f"Subject: {encoded_word(subject)}",
        f"Date: Tue, {r.randrange(1, 29):02} Sep 2026 {r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02} +0000",
        f"Message-ID: <{r.getrandbits(96):024x}@{domain}>",
        "MIME-Version: 1.0",
        *more,
    ]
    return "\r\n".join(lines) + "\r\n"


def part(text: str, subtype: str = "plain", encoding: str = "quoted-printable", charset: str = "utf-8") -> bytes:
    data = text.replace("\n", "\r\n").encode(charset, "replace")
    head = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    if encoding == "base64":
        return head + base64.encodebytes(data).replace(b"\n", b"\r\n")
    if encoding == "quoted-printable":
        return head + binascii.b2a_qp(data, istext=True)
    return head + data


def single(head: str, text: str, subtype: str = "plain", encoding: str = "8bit", charset: str = "utf-8") -> bytes:
    return head.encode() + part(text, subtype, encoding, charset)


def several(r: Random, head: str, parts: list[bytes], subtype: str = "alternative") -> bytes:
    edge = f"=_{r.getrandbits(80):020x}"
    lines = [head.encode() + f'Content-Type: multipart/{subtype}; boundary="{edge}"\r\n\r\n'.encode()]
    lines += [f"--{edge}\r\n".encode() + p + b"\r\n" for p in parts]
    return b"".join(lines) + f"--{edge}--\r\n".encode()


def both(r: Random, head: str, text: str, page: str, encoding: str = "quoted-printable") -> bytes:
    return several(r, head, [part(text, "plain", encoding), part(page, "html", encoding)])


def attachment(r: Random, name: str, kind: str, size: int) -> bytes:
    data = base64.encodebytes(b"%PDF-1.7\n" + r.randbytes(size)).replace(b"\n", b"\r\n")
    head = f'Content-Type: {kind}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + data


STYLE = (
    "<style>body{margin:0;padding:0;background:#f4f4f7;font-family:Helvetica,Arial,sans-serif}"
    "a{color:#3869d4}h1{font-size:22px;color:#333}td{padding:4px 8px}@media only screen and (max-width:600px)"
    "{.inner{width:100%!important}}.button{background:#3869d4;border-radius:3px;color:#fff;padding:10px 18px}</style>"
)


def page(title: str, inner: str, foot: str) -> str:
    """The table in a table that every mail template is."""
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{entities.escape(title)}</title>{STYLE}</head><body>'
        '<table width="100%" role="presentation"><tr><td align="center"><table class="inner" width="570">'
        f'<tr><td><img src="https://cdn.example.com/logo.png" alt="logo" width="120"></td></tr><tr><td>{inner}</td></tr>'
        f'<tr><td style="font-size:12px;color:#999">{foot}</td></tr></table></td></tr></table></body></html>'
    )


def paragraphs(text: str) -> str:
    return "".join(f"<p>{entities.escape(p)}</p>\n" for p in text.split("\n\n"))


def tracked(r: Random, host: str, label: str) -> str:
    """A link that counts clicks: another for every recipient."""
    return f'<a class="button" href="https://click.{host}/ls/{r.getrandbits(200):050x}">{entities.escape(label)}</a>'


def pixel(r: Random, host: str) -> str:
    return f'<img src="https://open.{host}/wf/{r.getrandbits(160):040x}.gif" width="1" height="1" alt="">'


def days(seed: int = 0) -> list[Flow]:
    """Every flow of the corpus."""
    from tests.corpus import heldout_bulk, heldout_notices, heldout_personal  # they build on this module

    return [*heldout_personal.flows(seed), *heldout_notices.flows(seed), *heldout_bulk.flows(seed)]
