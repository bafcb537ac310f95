"""Held-out notices: wanted mail whose words go to many on purpose. By content alone it is an announcement."""

# ruff: noqa: E501 - templates are kept as long as mail's paragraphs are, word lists as words

from random import Random

from tests.corpus.heldout import Flow, Person, Writer, batch, both, headers, page, paragraphs, peak, single


def statement_ready(r: Random, who: Person) -> bytes:
    text = (
        f"Dear {who.name},\n\nYour monthly statement for the account ending in {r.randrange(10000):04} is now available in your online "
        "mailbox. For your security we do not send statements by email. Log in as usual and choose Documents, then Statements. Statements "
        "stay available for ten years; you may download them as PDF at any time.\n\nPlease remember that we never ask for your PIN or a TAN "
        "by email or telephone.\n\nYour Meridian Bank\nMeridian Bank plc, 1 Harbour Square, registered in England, no. 01234567"
    )
    return single(headers(r, "Meridian Bank <docs@meridian.example>", who, "Your statement is ready"), text, "plain", "quoted-printable")


def all_hands(r: Random, who: Person) -> bytes:
    text = (
        "All-hands, Thursday 17 September 2026, 16:00 – 17:00 (CEST)\n\nAgenda: results of the summer, the move to the new office, questions "
        f"and answers with the board. Please send questions until Wednesday noon.\n\nOrganizer: Office of the CEO\nReply for {who.email}: Yes - No "
        "- Maybe\n\nInvitation from Calendar. You are receiving this email because you are an attendee on the event."
    )
    return both(r, headers(r, "CEO office <calendar@cal.example>", who, "Invitation: All-hands"), text, page("All-hands", paragraphs(text), "Calendar"))


def thread(length: int) -> Writer:
    """One post of a forum or tracker to those who watch it."""
    said = (
        "I think the regression came with the change to the connection pool: since then a worker that times out keeps its slot. I could "
        "reproduce it with two clients and a proxy that swallows the FIN. The attached patch gives the slot back in the finally branch. "
        "What do you think, should this go into the maintenance branch as well? "
    )

    def write(r: Random, who: Person) -> bytes:
        text = (
            f"Marek Novak commented on PROJ-1482\n\n{(said * length).strip()}\n\nView: https://tracker.example/PROJ-1482?n={r.getrandbits(64):x}\n\n"
            f"You get this because you watch the issue. Unwatch: https://tracker.example/u/{r.getrandbits(96):x}"
        )
        return both(r, headers(r, "Marek (Tracker) <jira@tracker.example>", who, "[PROJ-1482] Slot leak"), text, page("Issue", paragraphs(text), "Tracker"))

    return write


def outage(r: Random, who: Person) -> bytes:
    text = (
        f"Hi {who.first},\n\nWe are currently experiencing elevated error rates in the EU region. Uploads may fail or take longer than usual; data "
        "already stored is not affected. Our engineers found the cause and are rolling out a fix. We will post the next update within 30 minutes "
        "on status.cloudbox.example.\n\nThe Cloudbox team"
    )
    return single(headers(r, "Cloudbox status <status@cloudbox.example>", who, "Incident: elevated error rates"), text)


def class_cancelled(r: Random, who: Person) -> bytes:
    """A small list: 24 people in a course."""
    text = f"Hi {who.first},\n\nthe yoga class on Tuesday at 18:30 is cancelled, Petra is ill. Your credit is back in your account.\n\nStudio Om"
    return single(headers(r, "Studio Om <hello@om.example>", who, "Class cancelled"), text)


def flows(seed: int) -> list[Flow]:
    """Every notice with its number of readers."""
    r = Random(f"notices/{seed}")

    def flow(sort: str, sender: str, write: Writer, times: tuple[float, ...]) -> Flow:
        return Flow("notice", sort, sender, write, times, 0, seed)

    return [
        flow("statement is ready", "bank", statement_ready, batch(4000, 5)),
        flow("all-hands invitation", "calendar, 300 guests", all_hands, batch(300, 20)),
        flow("watched issue, 12 readers", "tracker", thread(1), batch(12, 10)),
        flow("watched issue, 60 readers", "tracker", thread(2), batch(60, 10)),
        flow("incident notice", "status page", outage, peak(r, 2500, 300)),
        flow("class cancelled, 24 readers", "studio", class_cancelled, batch(24, 5)),
    ]
