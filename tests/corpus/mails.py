"""Mail as a company sends it, made from a seed: what a guard must let pass, and what it must find.

Each function gives the `number`-th message of a kind as (header, body, recipient). Texts are long and short,
plain and HTML, as real ones of their kind are; names, orders and codes vary as they do.
"""
# ruff: noqa: E501, SIM905  (texts of mail)

from __future__ import annotations

import base64
import quopri
import random
from collections.abc import Callable

Mail = tuple[bytes, bytes, str]

FIRST = ("Anna Ben Carla David Emma Finn Greta Hannes Ida Jan Klara Leo Mia Noah Olivia Paul Quirin Rosa Sam Tina Uwe"
         " Vera Wim Xenia Yusuf Zoe Alexander Maximilian Bo Li Charlotte Elisabeth Konstantin Ann-Kathrin").split()
LAST = "Schmidt Müller Weber Fischer Okafor Rossi Novak García Jensen Dubois Kowalski Nguyen Ivanova Haas".split()
THINGS = [f"{colour} {thing}" for colour in "Blue Red Green Black White Striped".split()
          for thing in ("cotton shirt", "wool scarf", "rain jacket", "running shoes", "tea pot", "desk lamp", "notebook")]
STREETS = "Mill Lane,High Street,Station Road,Park Avenue,Church Street,Elm Drive".split(",")
HOSTS = [f"{role}{number:02}.dc{place}" for role in ("web", "db", "cache", "mail") for number in range(9) for place in (1, 2)]
IMPRINT = (
    "Example Shop Ltd, 12 Harbour Street, Bristol BS1 4ST, United Kingdom",
    "Registered in England and Wales, company number 01234567, VAT GB 123 4567 89",
    "Directors: A. Example, B. Sample. You find our terms of sale and our privacy notice",
    "on our web site. Questions? Just answer this message, or call 0800 123 456.",
)
DISCLAIMER = (
    "This message and its attachments may contain confidential or privileged information that",
    "is meant only for the person it is addressed to. If you are not that person, please tell",
    "the sender and delete the message; you may not copy it, nor use or disclose its contents.",
    "We take care that our messages carry no viruses, but you should check them yourself. No",
    "contract is made by electronic mail unless an authorised person confirms it in writing.",
    "Opinions in this message are those of its author and not necessarily those of the company.",
    "Messages to and from our systems may be recorded and read for reasons of security, as far",
    "as the law allows it. Please think of the environment before you print this message.",
)
WITHDRAWAL = [f"{number}. {text}" for number, text in enumerate((
    "You have the right to withdraw from this contract within fourteen days without giving any",
    "reason. The withdrawal period will expire after fourteen days from the day on which you, or",
    "a third party other than the carrier and indicated by you, acquires possession of the goods.",
    "To exercise the right of withdrawal, you must inform us of your decision to withdraw from",
    "this contract by an unequivocal statement, for example a letter sent by post or by e-mail.",
    "To meet the withdrawal deadline, it is sufficient for you to send your communication before",
    "the withdrawal period has expired. If you withdraw from this contract, we shall reimburse to",
    "you all payments received from you, including the costs of delivery, without undue delay and",
    "in any event not later than fourteen days from the day on which we are informed about your",
    "decision. We will carry out such reimbursement using the same means of payment as you used",
    "for the initial transaction, unless you have expressly agreed otherwise; in any event, you",
    "will not incur any fees as a result of such reimbursement. We may withhold reimbursement",
    "until we have received the goods back or you have supplied evidence of having sent them.",
), 1)]
NEWS = (
    "Autumn is here, and with it the new collection that our designers have worked on all year.",
    "Wool from two farms in Wales, dyed by hand, and knitted on machines that are older than",
    "most of us: every piece is a little different, and made to be worn for many winters.",
    "This week we open the doors of the workshop. Come and see how a jacket is cut, try the",
    "scarves on, and have a cup of tea with the people who make them. Children are welcome, and",
    "the bakery next door has promised cinnamon rolls for everyone who comes before eleven.",
    "In the shop you find the whole collection from Monday on. Until Sunday evening all orders",
    "are sent free of charge, and whoever buys two pieces gets a third of the price of the less",
    "expensive one back. The offer cannot be combined with others, and ends when the shelves do.",
    "Our favourite this season is the rain jacket in moss green. It keeps the wind out on the",
    "bicycle, folds into its own pocket, and looks good enough for the theatre afterwards. We",
    "have tested it for a year on the ferry to the islands, where it rains sideways.",
    "And a word about the summer: thank you. You have sent us four hundred photographs of your",
    "holidays with our bags, from Iceland to the Cape. The ten we liked best hang in the shop",
    "now, and their owners have a parcel on the way. We look forward to seeing you again soon.",
    "Warm wishes from all of us in the workshop, and see you on Saturday at the open doors.",
)
PROMO = (
    "Twenty percent off everything, today only. Use the code AUTUMN at the checkout, and",
    "your parcel leaves our house tomorrow. Offer ends at midnight, while stocks last.",
)


def dice(kind: str, number: int) -> random.Random:
    return random.Random(f"{kind} {number}")


def person(luck: random.Random, number: int) -> tuple[str, str]:
    first, last = luck.choice(FIRST), luck.choice(LAST)
    return f"{first} {last}", f"{first.lower()}{number}@mail{luck.randrange(40)}.example"


def token(luck: random.Random, length: int = 32) -> str:
    return "".join(luck.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


def plain(subject: str, lines: list[str], to: str) -> Mail:
    header = f"From: shop@example.com\r\nTo: {to}\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return header.encode(), ("\r\n".join(lines) + "\r\n").encode(), to


def receipt(number: int) -> Mail:
    luck = dice("receipt", number)
    name, to = person(luck, number)
    order = f"{luck.randrange(10**7):07}-{luck.randrange(1000)}"
    rows, total = [], 0.0
    for _ in range(luck.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        price, count = luck.randrange(500, 20000) / 100, luck.choice((1, 1, 1, 2, 3))
        total += price * count
        rows.append(f"  {count} x {luck.choice(THINGS):<28}{price * count:>10.2f} GBP")
    legal = WITHDRAWAL if number % 2 else []  # half the shops send the whole law along
    return plain(f"Your order {order}", [
        f"Dear {name},", "", "thank you for your order. We have received your payment and will send", "it within two days."
        " You will get another message with the number of the parcel.", "", f"Order {order}", "", *rows, "",
        f"  Total{total:>38.2f} GBP", "", "We send it to:", f"  {name}", f"  {luck.randrange(1, 200)} {luck.choice(STREETS)}",
        "", "-- ", *IMPRINT, *legal,
    ], to)  # fmt: skip


def code(number: int) -> Mail:
    luck = dice("code", number)
    _, to = person(luck, number)
    digits = f"{luck.randrange(10**6):06}"
    return plain(f"{digits} is your code", [
        f"Your code is {digits}", "", "It is good for ten minutes. Never tell it to anybody; we will never ask for it.",
        "If you did not try to sign in, change your password.", "", *IMPRINT[:2], *(DISCLAIMER if number % 2 else ()),
    ], to)  # fmt: skip


def reset(number: int) -> Mail:
    luck = dice("reset", number)
    name, to = person(luck, number)
    return plain("Set a new password", [
        f"Hello {name},", "", "somebody, and we hope it was you, asked us to set a new password for your account.",
        "To choose one, open this page within the next hour:", "", f"https://shop.example.com/reset?token={token(luck)}", "",
        "If it was not you, you need not do anything: your old password stays as it is, and the", "link above stops working"
        " by itself. Should such messages come again and again, write to us.", "", "-- ", *IMPRINT,
    ], to)  # fmt: skip


def confirmation(number: int) -> Mail:
    """Base64, as .NET sends it."""
    luck = dice("confirmation", number)
    name, to = person(luck, number)
    header, body, _ = plain("Welcome", [
        f"Welcome, {name}!", "", "One more step: please confirm that this is your address by opening", "",
        f"https://shop.example.com/confirm/{token(luck)}", "", "After that you can see your orders and keep a list of"
        " what you like.", *IMPRINT,
    ], to)  # fmt: skip
    return header + b"Content-Transfer-Encoding: base64\r\n", base64.encodebytes(body).replace(b"\n", b"\r\n"), to


def shipping(number: int) -> Mail:
    """HTML with a style sheet, quoted-printable, as shops send it."""
    luck = dice("shipping", number)
    name, to = person(luck, number)
    style = "".join(f".c{n} {{ font-family: Helvetica Neue, Arial, sans-serif; padding: {n}px }}\n" for n in range(60))
    lines = [f"Hello {name},", "your parcel is on its way to you.", f"Parcel number: {token(luck, 12).upper()}",
             f"Expected on the {luck.randrange(1, 29)}th between {luck.randrange(8, 18)}:00 and 19:00.", *IMPRINT, *DISCLAIMER]
    rows = "".join(f'<tr><td style="padding: 4px" align="left">{line}</td></tr>\n' for line in lines)
    html = f"<html><head><style>\n{style}</style></head><body>\n<table>{rows}</table></body></html>\n"
    header = f"From: shop@example.com\r\nTo: {to}\r\nSubject: On its way\r\nContent-Type: text/html; charset=utf-8\r\n"
    body = quopri.encodestring(html.encode()).replace(b"\n", b"\r\n")
    return header.encode() + b"Content-Transfer-Encoding: quoted-printable\r\n", body, to


def alert(number: int) -> Mail:
    luck = dice("alert", number)
    host, when = luck.choice(HOSTS), f"{luck.randrange(24):02}:{luck.randrange(60):02}:{luck.randrange(60):02}"
    people = [f"oncall{n}@example.com" for n in range(6)]
    return plain(f"PROBLEM {host}: disk", [
        "***** Monitoring *****", "", "Notification Type: PROBLEM", f"Host: {host}", "Service: disk space on /var",
        f"State: CRITICAL ({luck.randrange(90, 100)} % used)", f"Time: 2026-11-21 {when}", "", *DISCLAIMER,
    ], luck.choice(people))  # fmt: skip


def storm(number: int) -> Mail:
    """The very same text all night, to the people on call."""
    lines = (*DISCLAIMER, *WITHDRAWAL)
    return plain("PROBLEM", ["The backup has failed again.", *lines], f"oncall{number % 6}@example.com")


def campaign(number: int, greeting: str = "Dear {name},", paragraphs: tuple[str, ...] = NEWS, own: str = "") -> Mail:
    luck = dice("campaign", number)
    name, to = person(luck, number)
    end = f"You get this as {to}. No more of it: https://news.example.com/u/{token(luck, 20)}"
    click = f"https://news.example.com/c/{token(luck, 24)}"
    own_line = own.format(name=name, number=luck.randrange(10**6), thing=luck.choice(THINGS))
    lines = [greeting.format(name=name), "", *paragraphs[:6], click, "", own_line, *paragraphs[6:], "", end]
    return plain("The new collection", lines, to)


def newsletter(number: int) -> Mail:
    return campaign(number)


def anonymous(number: int) -> Mail:
    return campaign(number, "Dear friends of the workshop,")


def wrapped(number: int) -> Mail:
    """The name stands in a paragraph that is wrapped anew for everyone."""
    luck = dice("campaign", number)
    name, to = person(luck, number)
    words, lines = f"Dear {name}, {' '.join(NEWS[:3])}".split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 72:
            lines.append("")
        lines[-1] += f"{word} "
    return plain("The new collection", [*lines, "", *NEWS[3:], f"https://news.example.com/u/{token(luck)}"], to)


def marked_up(number: int) -> Mail:
    """multipart/alternative as newsletter tools make it, the text part quoted-printable."""
    _, body, to = campaign(number)
    text = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    html = b"<html><body><p>" + body.replace(b"\r\n", b"</p>\r\n<p>") + b"</p></body></html>"
    header = f"From: n@example.com\r\nTo: {to}\r\nSubject: New\r\nContent-Type: multipart/alternative; boundary=\"=_b1\"\r\n"
    parts = (
        b"--=_b1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + text
        + b"\r\n--=_b1\r\nContent-Type: text/html\r\n\r\n" + html + b"\r\n--=_b1--\r\n"
    )  # fmt: skip
    return header.encode(), parts, to


def only_html(number: int) -> Mail:
    _, body, to = campaign(number)
    style = "".join(f".c{n} {{ font-family: Helvetica Neue, Arial, sans-serif; padding: {n}px }}\n" for n in range(60))
    rows = body.decode().replace("\r\n", '</td></tr>\n<tr><td class="c7" style="padding: 4px">')
    html = f"<html><head><style>{style}</style></head><body><table><tr><td>{rows}</td></tr></table></body></html>"
    header = f"From: n@example.com\r\nTo: {to}\r\nSubject: New\r\nContent-Type: text/html\r\n"
    body = base64.encodebytes(html.encode()).replace(b"\n", b"\r\n")
    return header.encode() + b"Content-Transfer-Encoding: base64\r\n", body, to


def recommended(number: int) -> Mail:
    """One paragraph of its own for everyone, without figures."""
    return campaign(number, own="We think that you will like the {thing}, {name}.")


def coupon(number: int) -> Mail:
    """A figure of its own for everyone."""
    return campaign(number, own="Your personal code for the checkout is {number}.")


def promo(number: int) -> Mail:
    """Two sentences: as short as a one-time code."""
    return campaign(number, paragraphs=PROMO)


GOOD: dict[str, Callable[[int], Mail]] = {
    "receipt": receipt, "code": code, "reset": reset, "confirmation": confirmation, "shipping": shipping,
    "alert": alert, "storm": storm,
}  # fmt: skip
BULK: dict[str, Callable[[int], Mail]] = {
    "newsletter": newsletter, "anonymous": anonymous, "wrapped": wrapped, "marked_up": marked_up,
    "only_html": only_html, "recommended": recommended, "coupon": coupon, "promo": promo,
}  # fmt: skip
