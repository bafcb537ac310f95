"""A third sample, written after the detector was read and against it: long texts, wrapped at 72 columns, with the
disclaimers that companies put under everything. What someone waits for says here as much as a campaign does.
"""

# ruff: noqa: E501 - templates are kept as long as mail's paragraphs are

import textwrap
from random import Random

from tests.corpus.heldout import (
    Flow,
    Person,
    Writer,
    batch,
    both,
    headers,
    page,
    paragraphs,
    peak,
    pixel,
    single,
    tracked,
)

DISCLAIMER = (
    "This message and any attachments are intended solely for the addressee and may contain confidential or legally "
    "privileged information. If you are not the intended recipient, please notify the sender at once and delete the "
    "message; any disclosure, copying, distribution or use of its contents is prohibited and may be unlawful. Emails "
    "are not secure and cannot be guaranteed to be free of errors, as they can be intercepted, amended, lost or "
    "destroyed, or contain viruses. Anyone who communicates with us by email is taken to accept these risks.\n\n"
    "Harbour Group plc is registered in England and Wales. Its registered office is at Harbour Square, London. The "
    "companies of the group are authorised by the Prudential Regulation Authority and regulated by the Financial "
    "Conduct Authority and the Prudential Regulation Authority. Calls may be recorded for training and quality. We "
    "process personal data as our privacy notice explains, which you find on our website together with your rights."
)
ARTICLES = (
    "Why we mend. In the back of our shop stands a machine older than anyone who works here, and every Thursday it is "
    "run by people who bring their own things: jackets with broken zips, a tent that met a stove, shoes that have "
    "walked further than they were meant to. We asked three of them what made them come, and what they would say to "
    "somebody who has never held a needle.\n\nA week in the hut. Petra spent seven days without electricity above the "
    "tree line and wrote down what she missed and what she did not. Her list is short and begins with dry socks. She "
    "also tells how to cook for six on one flame, and why the best meal was the one that burnt.\n\nFrom the workshop. "
    "The new dye takes longer and smells of hay, but uses a third of the water. Our dyers explain how they found it, "
    "what went wrong twice, and why the blue is a little different each time. We like that; tell us if you do.\n\nThe orchard. Behind the "
    "hall there is room for trees, and since spring there are twelve of them. A neighbour who has grafted all his life "
    "came with a knife and a bag of twigs; now each trunk carries sorts that no shop sells any more. It will be years "
    "before there is anything to pick, which is rather the point.\n\nLetters. Many of you wrote about the jacket that "
    "came back with a different button. That is on purpose: a repair should be seen, and the button is from the tin "
    "that Inge brought from home. If you would rather have one that matches, say so and we look for it together. Keep "
    "writing, on paper if you like; everything is read aloud at breakfast, and the best ones hang beside the machine.\n\n"
    "Until next month, when we open the cellar, look at what moths do and what to do about them, and let the "
    "apprentices choose the colour of the season without anybody looking over their shoulders."
)
BRIEF = (
    "heute schreiben wir Ihnen, weil sich in unserem Haus etwas ändert, das Sie freuen dürfte. Ab Oktober öffnen wir "
    "auch am Sonntag, und zu jeder Öffnung gehört ein Gespräch: Autorinnen lesen, Handwerker zeigen, Gärtner "
    "beantworten Fragen. Der Eintritt ist frei, nur die Plätze sind begrenzt.\n\nDen Anfang macht eine Lesung über das "
    "Leben an der Küste, danach folgen ein Abend über alte Apfelsorten und ein Nachmittag für Kinder. Wer mag, bleibt "
    "zum Essen; die Küche kocht, was der Markt hergibt. Bringen Sie Freunde mit, und sagen Sie uns, was Ihnen "
    "fehlt. Wir freuen uns auf Sie und auf einen Herbst, in dem man sich wieder häufiger sieht als schreibt.\n\nUnser "
    "Laden bleibt wie er ist, mit denselben Menschen hinter der Theke und derselben Katze im Schaufenster, die auch am "
    "Sonntag nicht gestört werden möchte.\n\nWas wir lesen, hören und empfehlen, steht von nun an an einer Tafel neben "
    "der Tür, und wer etwas dazu zu sagen hat, nimmt die Kreide. Am Ende jedes Monats schreiben wir ab, was dort "
    "steht, und schicken es denen, die nicht kommen konnten. So entsteht, hoffen wir, mit der Zeit ein Gespräch, an "
    "dem auch die teilnehmen, die lieber zuhören als reden."
)


def wrapped(text: str) -> str:
    return "\n\n".join(textwrap.fill(part, 72) for part in text.split("\n\n"))


def letter(sender: str, subject: str, text: str) -> Writer:
    """Plain text, wrapped; `{n}` is the first name, `{l}` a link of one's own, `{p}` a figure of one's own."""

    def write(r: Random, who: Person) -> bytes:
        link = f"https://go.example/{r.getrandbits(128):032x}"
        filled = text.format(n=who.first, l=link, p=r.randrange(3000), c=f"{r.randrange(10**6):06}")
        return single(headers(r, sender, who, subject), wrapped(filled), "plain", "quoted-printable")

    return write


def web_letter(r: Random, who: Person) -> bytes:
    parts = "".join(f"{paragraphs(part)}{tracked(r, 'mend.example', 'Read on')}" for part in ARTICLES.split("\n\n"))
    inner = f"<p>Dear {who.first},</p>{parts}"
    foot = f"Mend & Co, Harbour Street. {tracked(r, 'mend.example', 'Unsubscribe')}{pixel(r, 'mend.example')}"
    text = f"Dear {who.first},\n\n{ARTICLES}"
    return both(r, headers(r, "Mend <hello@mend.example>", who, "Why we mend"), text, page("Mend", inner, foot))


BANK, MEND = "Harbour <no-reply@harbour.example>", "Mend <hello@mend.example>"
RESET = "Dear {n},\n\nyou asked for a new password. Choose one here within the hour:\n\n{l}\n\nIf it was not you, do nothing.\n\n"
LOGIN = "Dear {n},\n\nsign in with this link, once, from the window you opened:\n\n{l}\n\n"
CODE = "Dear {n},\n\nyour code is {c}. It is good for ten minutes.\n\n"
ALONE = "Dear {n},\n\nyour code, good for ten minutes:\n\n{c}\n\n"
WELCOME = (
    "Dear {n},\n\nwelcome. Please confirm your address, so that we know it is yours:\n\n{l}\n\nThen make yourself at home: add a "
    "picture, invite the people you work with, and bring your first project over; the import takes what other tools "
    "export. Most people begin with the short tour, which shows how boards, lists and cards belong together and how to "
    "keep what is private to yourself.\n\nThere is help whenever you need it. The guide answers the usual questions, "
    "the forum the unusual ones, and behind the address of this message sit people who read every line. If something "
    "does not work as you expect, it is most likely our fault, and we want to know.\n\nIn the first days you get a "
    "short message each morning with one thing to try. You can switch that off in your settings, as you can "
    "everything else we might send. We do not pass your address on, and when you leave we delete what you brought.\n\n"
    "We are glad that you are here.\n\nThe team"
)


def days(seed: int = 0) -> list[Flow]:
    """Every flow of the sample."""
    r = Random(f"longer/{seed}")

    def flow(kind: str, sort: str, write: Writer, times: tuple[float, ...]) -> Flow:
        return Flow(kind, sort, "one", write, times, 0, seed)

    return [
        flow("transactional", "reset above a disclaimer, 1,000 in 15 min", letter(BANK, "Password", RESET + DISCLAIMER), peak(r, 1000, 900)),
        flow("transactional", "login link above a disclaimer, same", letter(BANK, "Sign in", LOGIN + DISCLAIMER), peak(r, 1000, 900)),
        flow("transactional", "code above a disclaimer, same", letter(BANK, "Code", CODE + DISCLAIMER), peak(r, 1000, 900)),
        flow("transactional", "code on a line of its own above it", letter(BANK, "Code", ALONE + DISCLAIMER), peak(r, 1000, 900)),
        flow("transactional", "welcome of a page, launch day", letter(MEND, "Welcome", WELCOME), peak(r, 2000, 1200)),
        flow("transactional", "welcome of a page, 60 an hour", letter(MEND, "Welcome", WELCOME), batch(600, 1 / 60)),
        flow("bulk", "long letter", letter(MEND, "Why we mend", "Dear {n},\n\n" + ARTICLES + "\n\n{l}"), batch(2000, 10)),
        flow("bulk", "long letter with one's points", letter(MEND, "News", "Dear {n},\n\n" + ARTICLES + "\n\nYou have {p} points."), batch(2000, 10)),
        flow("bulk", "long letter, HTML", web_letter, batch(2000, 10)),
        flow("bulk", "long letter, German", letter(MEND, "Sonntags", "Guten Tag {n},\n\n" + BRIEF + "\n\n{l}"), batch(2000, 10)),
        flow("bulk", "long letter, 60 an hour", letter(MEND, "Why we mend", "Dear {n},\n\n" + ARTICLES), batch(600, 1 / 60)),
    ]  # fmt: skip
