"""A day of mail as the event log has it, made by rule: the same seed gives the same day."""

import json
import random

from relay.core.ids import message_id

START = 1_790_000_000.0 // 86400 * 86400
DOMAINS = {
    "gmail.com": "gmail-smtp-in.l.google.com", "outlook.com": "outlook-com.olc.protection.outlook.com",
    "yahoo.com": "mta5.am0.yahoodns.net", "example.org": "mx1.example.org", "small.example": "mail.small.example",
}  # fmt: skip
HEADERS = ("list-unsubscribe", "precedence", "x-campaign")


def day(messages=400, seed=7, facts=True):
    """Events in the order of their times: codes all day, a campaign at noon; one in ten deferred once, one in
    twenty refused."""
    dice = random.Random(seed)
    found = []
    for number in range(messages):
        news = number % 2 == 1
        at = START + (43200 + number * 0.05 if news else number * 86400 / messages)
        found += _mail(dice, round(at, 3), news=news, facts=facts)
    return sorted(found, key=lambda row: row["time"])


def _mail(dice, at, *, news, facts):
    id_ = message_id(at, dice.randbytes(6))
    domain = dice.choice(list(DOMAINS))
    stream, route = ("marketing", "newsletters") if news else ("transactional", "everything else")
    common = {
        "message": id_, "stream": stream, "route": route,
        "sender": "news@news.example.com" if news else "login@example.com", "node": "relay.example.com",
    }  # fmt: skip
    recipient = f"u{dice.randrange(10**6)}@{domain}"
    accepted = {
        "time": at + 0.004, "event": "accepted", **common, "listener": "apps", "client": "10.0.0.7",
        "credential": "", "size": 4000, "recipients": [recipient],
    }  # fmt: skip
    if facts:
        headers = {name: [] for name in HEADERS}
        if news:
            headers |= {"list-unsubscribe": [""], "x-campaign": ["autumn"]}
        accepted["facts"] = {"headers": headers}
    attempt = {
        **common, "recipient": recipient, "provider": "p", "phase": "dot", "attempt": 1, "source": "t1",
        "mx": DOMAINS[domain], "address": "192.0.2.1", "tls": "TLSv1.3", "seconds": 0.2, "delay_s": 0.2,
    }  # fmt: skip
    luck = dice.random()
    if luck < 0.05:
        return [accepted, {"time": at + 0.2, "event": "bounced", **attempt, "code": 550, "class": "InvalidRecipient"}]
    if luck < 0.15:
        deferred = {"time": at + 0.2, "event": "deferred", **attempt, "code": 451, "due_at": at + 60}
        return [accepted, deferred, {"time": at + 61, "event": "delivered", **attempt, "attempt": 2}]
    return [accepted, {"time": at + 0.2, "event": "delivered", **attempt}]


def write(path, rows):
    """The rows as a log file."""
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    return path
