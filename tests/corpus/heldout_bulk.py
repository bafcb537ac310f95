"""Held-out bulk mail with the personalisation that senders use; none of it carries List-* or Precedence."""

# ruff: noqa: E501, SIM905 - templates are kept as long as mail's paragraphs are, word lists as words

import re
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
    pixel,
    single,
    tracked,
    trickle,
)
from tests.corpus.heldout_personal import GOODS


def coupon(r: Random) -> str:
    return "".join(r.choice("ABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(8))


def shelf(r: Random, host: str, count: int) -> str:
    """Recommended for this reader: other articles and prices in every message."""
    cells = "".join(
        f"<td><img src='https://img.{host}/{r.randrange(10**6)}.jpg'><br>{item}<br><b>€{r.randrange(500, 15000) / 100:.2f}</b><br>{tracked(r, host, 'Shop now')}</td>"
        for item in r.sample(GOODS, count)
    )
    return f"<table><tr>{cells}</tr></table>"


def newsletter(r: Random, who: Person) -> bytes:
    """A monthly letter: greeting by name, coupon of one's own, four articles chosen for the reader, counted links."""
    story = (
        "Autumn is knocking and so are we: this month we visited the weavers of the Upper Valley, who still work on looms their grandparents "
        "built. Marta showed us how a blanket comes to be, from the shearing in May to the last knot in September, and why no two are alike.\n\n"
        "In the workshop we learned that good wool needs hardly any washing. Air it overnight, brush it when dry, and it will outlive us all. "
        "Our care guide gathers what the weavers told us.\n\nAnd because so many of you asked: yes, the green one is back. There are two hundred "
        "of them, numbered, and when they are gone they are gone."
    )
    code = coupon(r)
    greeting = r.choice((f"Hello {who.first},", f"Dear {who.name},", f"Hi {who.first}!"))
    offer = f"As a thank-you, your personal code {code} takes 15% off everything until 30 September."
    text = f"{greeting}\n\n{story}\n\n{offer}\n\nhttps://click.kettle.example/{r.getrandbits(128):x}\n\nYour friends at Kettle & Co"
    inner = paragraphs(f"{greeting}\n\n{story}") + shelf(r, "kettle.example", 4) + paragraphs(offer) + tracked(r, "kettle.example", "Visit the shop")
    foot = f"Kettle & Co, 1 Mill Lane. <a href='https://kettle.example/u/{r.getrandbits(128):x}'>Unsubscribe</a>{pixel(r, 'kettle.example')}"
    return both(r, headers(r, "Kettle & Co <news@kettle.example>", who, f"{who.first}, the green one is back"), text, page("News", inner, foot))


def promotion(r: Random, who: Person) -> bytes:
    """Little text, many goods: two sentences are the campaign's, the rest is the reader's."""
    inner = (
        f"<h1>{who.first}, 20% off ends tonight</h1><p>Everything in the shop, no minimum, until midnight. Use code {coupon(r)} at the checkout.</p>"
        f"{shelf(r, 'stadtrad.example', 4)}<h2>Picked for you</h2>{shelf(r, 'stadtrad.example', 4)}"
        f"<p>You have {r.randrange(2000)} points. Free delivery from €49.</p>"
    )
    foot = f"Stadtrad GmbH, Graz. {tracked(r, 'stadtrad.example', 'Abmelden')}{pixel(r, 'stadtrad.example')}"
    return single(headers(r, "Stadtrad <hallo@stadtrad.example>", who, f"{who.first}, ends tonight"), page("Sale", inner, foot), "html", "base64")


def plain_campaign(r: Random, who: Person) -> bytes:
    text = (
        f"Hi {who.first},\n\nquick note: our autumn workshop has eight places left. Two days, one small group, and you leave with a working plan for "
        "your next quarter. Last time people told us the second afternoon alone was worth the trip.\n\nIt's on 22 and 23 October in "
        f"{who.city}. As you came in spring, you may book at the old price until Friday.\n\nHere's your link: https://plan.example/w?u={r.getrandbits(80):x}\n\n"
        "See you there?\n\nMiriam\n\nP.S. If you'd rather not hear from me, just reply with \"stop\"."
    )
    return single(headers(r, "Miriam Stone <miriam@plan.example>", who, f"{who.first}, eight places left"), text)


def short_campaign(r: Random, who: Person) -> bytes:
    text = f"Hey {who.first}! Our sale ends tonight at midnight. Don't miss it: https://s.example/{coupon(r)}\n\nReply STOP to opt out."
    return single(headers(r, "Solea <hi@solea.example>", who, "Last hours"), text)


SPINTAX = (
    "{Hi|Hello|Hey|Good morning} FIRST,\n\n{I came across|I stumbled upon|I recently found|While researching I saw} COMPANY {and was impressed by|and really liked|and "
    "enjoyed reading about} {what you're building|your recent growth|the work you do} in CITY.\n\n{We help|My team helps|At Leadspring we help} {companies|teams|businesses} "
    "like yours {get|win|book} {20 to 30|25+|dozens of} {qualified|sales-ready|fresh} {meetings|appointments|demos} {a month|each month|every month} {without|with no} "
    "{cold calls|hiring more staff|extra ad spend}.\n\n{Would you be open to|Do you have time for|Could we have} a {quick|short|brief} {call|chat|conversation} {next week|on "
    "Tuesday or Wednesday|in the coming days}? {I can show you|Happy to share|I'd love to show you} how {we did it for|it worked for} {others|two firms} in your "
    "{field|industry|market}.\n\n{Best|Kind regards|Cheers|All the best},\n{Jake|Jake Miller|J. Miller}"
)


def spin(r: Random, template: str) -> str:
    return re.sub(r"\{([^{}]*)\}", lambda m: r.choice(m[1].split("|")), template)


def spintax(r: Random, who: Person) -> bytes:
    company = f"{who.last} {r.choice(('Ltd', 'GmbH', 'Labs', 'Media', 'Consulting'))}"
    text = spin(r, SPINTAX).replace("FIRST", who.first).replace("COMPANY", company).replace("CITY", who.city)
    return single(headers(r, "Jake Miller <jake@leadspring.example>", who, spin(r, "{Question|Quick question|Idea} for " + company)), text)


OPENINGS = (
    "I read your post on hiring and it made me think.|Your talk in spring stayed with me.|A friend pointed me to your site.|Congratulations on the new office.|I noticed you are "
    "looking for engineers.|It seems that you are entering a new market."
).split("|")
CLAIMS = (
    "Most teams your size lose a day a week to scheduling.|We cut onboarding from six weeks to two for a firm much like yours.|Our tool reads contracts and marks what is unusual.|There "
    "is a way to halve your hosting bill without moving anything.|Three of your competitors already route their calls through us.|What used to take a spreadsheet takes one click."
).split("|")
CLOSINGS = (
    "Shall I send a two-minute video?|Would Thursday at ten suit you?|If this is not for you, who should I ask?|May I call you next week?|Is that something you would look at?|Reply with "
    "a yes and I set it up."
).split("|")


def rewritten(r: Random, who: Person) -> bytes:
    """Outreach written anew for each reader: nearly no sentence is common to all."""
    body = " ".join(r.sample(OPENINGS, 2)) + "\n\n" + " ".join(r.sample(CLAIMS, r.randint(2, 3))) + "\n\n" + " ".join(r.sample(CLOSINGS, r.randint(1, 2)))
    text = f"{r.choice(('Hi', 'Dear', 'Hello'))} {who.first},\n\n{body}\n\n{r.choice(('Best', 'Thanks', 'Yours'))},\nSam"
    return single(headers(r, "Sam Reed <sam@reach.example>", who, r.choice(("Thought", "An idea", "Quick one")) + f", {who.first}"), text)


CHANGE = {
    "en": "Hello {n},\n\nwe are changing our terms of service on 1 November 2026. The new terms explain more clearly how we use your data, what happens when a payment fails and how "
    "disputes are settled. You can read both versions side by side on our website. If you do not agree you may close your account at no cost before that date; otherwise you need not do "
    "anything.\n\nYour Mobili team",
    "de": "Guten Tag {n},\n\nzum 1. November 2026 ändern wir unsere Nutzungsbedingungen. Die neue Fassung erklärt deutlicher, wie wir Ihre Daten verwenden, was bei einer gescheiterten "
    "Zahlung geschieht und wie Streitfälle beigelegt werden. Beide Fassungen finden Sie nebeneinander auf unserer Website. Wenn Sie nicht einverstanden sind, können Sie Ihr Konto bis dahin "
    "kostenfrei schließen; andernfalls brauchen Sie nichts zu tun.\n\nIhr Mobili-Team",
    "fr": "Bonjour {n},\n\nnos conditions générales changent le 1er novembre 2026. La nouvelle version explique plus clairement l'usage de vos données, ce qui se passe en cas d'échec de "
    "paiement et le règlement des litiges. Vous pouvez comparer les deux versions sur notre site. Si vous n'êtes pas d'accord, vous pouvez fermer votre compte sans frais avant cette date ; "
    "sinon vous n'avez rien à faire.\n\nL'équipe Mobili",
    "es": "Hola {n}:\n\nel 1 de noviembre de 2026 cambian nuestras condiciones de servicio. La nueva versión explica con más claridad cómo usamos tus datos, qué ocurre si falla un pago y cómo "
    "se resuelven los conflictos. Puedes leer ambas versiones en nuestra web. Si no estás de acuerdo puedes cerrar tu cuenta sin coste antes de esa fecha; si no, no tienes que hacer nada."
    "\n\nEl equipo de Mobili",
    "ja": "{n} 様\n\n2026年11月1日より利用規約を変更いたします。新しい規約では、お客様のデータの取り扱い、お支払いが失敗した場合の手続き、紛争の解決方法をより明確にご説明しています。両方の版は当社ウェブサイトで"
    "ご確認いただけます。同意いただけない場合は、その日までに無料でアカウントを閉鎖できます。それ以外の場合、お手続きは不要です。\n\nMobili チーム",
}  # fmt: skip


def change_of_terms(r: Random, who: Person) -> bytes:
    """One announcement in five languages, mixed as the customers come."""
    text = CHANGE[r.choice(tuple(CHANGE))].format(n=r.choice((who.first, who.name)))
    return both(r, headers(r, "Mobili <legal@mobili.example>", who, "Terms of service 2026-11"), text, page("Terms", paragraphs(text), "Mobili SAS, Paris"), "base64")


JOBS = "Data engineer,Nurse,Tram driver,Accountant,Chef de partie,Carpenter,Product manager,Teacher,Welder,Lawyer,Barista,Android developer".split(",")


def digest(r: Random, who: Person) -> bytes:
    """Jobs for you: nearly everything is the reader's own."""
    rows = "\n\n".join(f"{r.choice(JOBS)} at {r.choice(('Orbit', 'Lumen', 'Nordwind', 'Cascade', 'Halden'))} {r.choice(('AG', 'Ltd', 'SA'))}\n{who.city} · {r.randrange(30, 90)},000 a year\n"
                       f"https://jobs.example/j/{r.getrandbits(60):x}" for _ in range(r.randint(4, 9)))  # fmt: skip
    text = f"{who.first}, {r.randint(4, 40)} new jobs match your search\n\n{rows}\n\nSee all jobs. Unsubscribe: https://jobs.example/u/{r.getrandbits(60):x}"
    return both(r, headers(r, "Jobs for you <alerts@jobs.example>", who, f"{who.first}: new jobs in {who.city}"), text, page("Jobs", paragraphs(text), "Jobs Inc."))


def survey(r: Random, who: Person) -> bytes:
    """How did we do: after each purchase, but a campaign none the less when it is sent to all customers at once."""
    inner = (
        f"<p>Hi {who.first},</p><p>How likely are you to recommend Streamly to a friend or colleague?</p><p>"
        + " ".join(f"<a href='https://survey.example/{r.getrandbits(80):x}?s={n}'>{n}</a>" for n in range(11))
        + "</p><p>Not at all likely — extremely likely. It takes less than a minute, and we read every answer.</p>"
    )
    return single(headers(r, "Streamly <feedback@streamly.example>", who, "One question"), page("Survey", inner, "Streamly"), "html", "quoted-printable")


def picture(r: Random, who: Person) -> bytes:
    """One large picture and a link: there are no words to compare."""
    inner = f"{tracked(r, 'lux.example', ' ')}<img src='https://img.lux.example/campaign-77/hero.jpg?{r.getrandbits(60):x}' width=570>{pixel(r, 'lux.example')}"
    return single(headers(r, "Lux <club@lux.example>", who, "Only this weekend"), page("Lux", inner, tracked(r, "lux.example", "Unsubscribe")), "html")


def trial_of_two(r: Random, who: Person) -> bytes:
    """Two subjects and two texts tried against each other."""
    first = "You planned {k} trips with us this year. Where next? Our winter map has forty railway journeys that start at your door, with hotels that we have slept in ourselves."
    second = "Snow or sun? We collected forty journeys by rail for the cold months, from one night to two weeks, and stayed in each hotel before we put it on the map."
    body = r.choice((first, second)).format(k=r.randint(1, 9))
    text = f"{who.first},\n\n{body}\n\nBook by 15 October and the seat reservation is ours.\n\nhttps://click.rail.example/{r.getrandbits(100):x}\n\nRailaway, {r.randrange(9999)} members in {who.city}"
    return both(r, headers(r, "Railaway <map@rail.example>", who, r.choice(("Where next?", "Snow or sun?"))), text, page("Rail", paragraphs(text), pixel(r, "rail.example")))


def webinar(r: Random, who: Person) -> bytes:
    text = (
        f"Hi {who.first},\n\nYou're invited: \"Five habits of teams that ship\", a free live session with Dana Cole, on Wednesday, 14 October, 17:00 CET.\n\nIn 45 minutes Dana covers how to "
        "cut work into pieces that can be finished, why small reviews are faster, and what to measure. There is time for questions, and everyone who registers gets the recording.\n\n"
        f"Save my seat: https://planboard.example/webinar?c={r.getrandbits(90):x}\n\nSee you there,\nThe Planboard Team\n\nPlanboard Inc., 12 Harbor St. Unsubscribe: https://planboard.example/u/{r.getrandbits(90):x}"
    )
    return both(r, headers(r, "Planboard <events@planboard.example>", who, "You're invited: five habits"), text, page("Webinar", paragraphs(text), pixel(r, "planboard.example")))


def flows(seed: int) -> list[Flow]:
    """Every bulk flow; the slow one is there because patience is the usual way around a detector."""
    r = Random(f"bulk/{seed}")

    def flow(sort: str, sender: str, write: Writer, times: tuple[float, ...]) -> Flow:
        return Flow("bulk", sort, sender, write, times, 0, seed)

    return [
        flow("newsletter, personalised", "Kettle & Co", newsletter, batch(2000, 20)),
        flow("promotion, chosen goods", "Stadtrad", promotion, batch(2000, 20)),
        flow("campaign in plain text", "Miriam", plain_campaign, batch(2000, 10)),
        flow("campaign, one line", "Solea", short_campaign, batch(2000, 20)),
        flow("outreach, spintax", "Leadspring", spintax, batch(1000, 1)),
        flow("outreach, spintax, 6 an hour", "Leadspring", spintax, trickle(r, 144, 86_400.0)),
        flow("outreach, written anew", "Reach", rewritten, batch(1000, 1)),
        flow("announcement, 5 languages", "Mobili", change_of_terms, batch(2500, 10)),
        flow("digest of one's own", "Jobs", digest, batch(2000, 10)),
        flow("survey", "Streamly", survey, batch(1500, 10)),
        flow("one picture", "Lux", picture, batch(1500, 20)),
        flow("two texts on trial", "Railaway", trial_of_two, batch(1500, 20)),
        flow("webinar", "Planboard", webinar, batch(1500, 10)),
    ]
