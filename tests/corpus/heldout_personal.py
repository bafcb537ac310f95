"""Held-out transactional mail: receipts, codes, resets, shipping, invoices, alerts, tickets, builds, bookings."""

# ruff: noqa: E501, SIM905 - templates are kept as long as mail's paragraphs are, word lists as words

from collections.abc import Callable
from random import Random

from tests.corpus.heldout import (
    Flow,
    Person,
    Writer,
    attachment,
    batch,
    both,
    headers,
    page,
    paragraphs,
    part,
    peak,
    pixel,
    several,
    single,
    tracked,
    trickle,
)

GOODS = (
    "Merino beanie,Enamel mug 300 ml,USB-C cable 2 m,Oak cutting board,Trail running socks (3 pairs),Desk lamp Nyx,"
    "Espresso beans 1 kg,Water bottle 0.75 l,Linen shirt white,Notebook A5 dotted,Bike light set,Yoga mat 6 mm,"
    "Ceramic planter,Wireless mouse,Rain jacket,Phone case clear,Wool blanket,Chef's knife 20 cm,Board game Quarry,"
    "Sunscreen SPF 50,Garden gloves,Puzzle 1000 pieces,Tea sampler,HDMI adapter,Cotton tote bag,Bluetooth speaker"
).split(",")


def basket(r: Random, most: int = 6) -> list[tuple[str, int, float]]:
    return [(item, r.choice((1, 1, 1, 2, 3)), r.randrange(400, 9000) / 100) for item in r.sample(GOODS, r.randint(1, most))]


# --- receipts and orders -----------------------------------------------------------------------------------------------


def shop_order(shop: str, host: str) -> Writer:
    """As a shop plug-in writes it: HTML alone, a table of items, addresses, a long foot."""

    def write(r: Random, who: Person) -> bytes:
        number, goods = r.randrange(10_000, 99_999), basket(r)
        total = sum(n * price for _, n, price in goods)
        rows = "".join(f"<tr><td>{i}</td><td>{n}</td><td>€{n * p:.2f}</td></tr>" for i, n, p in goods)
        inner = (
            f"<h1>Thank you for your order</h1><p>Hi {who.first},</p><p>Just to let you know — we've received your order "
            f"#{number}, and it is now being processed:</p><h2>[Order #{number}] (September {r.randint(1, 28)}, 2026)</h2>"
            f"<table border=1><tr><th>Product</th><th>Quantity</th><th>Price</th></tr>{rows}<tr><th colspan=2>Subtotal:</th>"
            f"<td>€{total:.2f}</td></tr><tr><th colspan=2>Shipping:</th><td>{r.choice(('€4.90', 'Free shipping'))}</td></tr>"
            f"<tr><th colspan=2>Payment method:</th><td>{r.choice(('Credit Card', 'PayPal', 'Invoice'))}</td></tr></table>"
            f"<h2>Billing address</h2><address>{who.name}<br>{who.street}<br>{r.randrange(10000, 99999)} {who.city}<br>"
            f"{who.email}</address><p>Thanks for using {host}!</p><p>You can return unworn goods within 30 days. Please "
            "read our terms and conditions and our cancellation policy, which were part of your order.</p>"
        )
        subject = f"Your {shop} order has been received!"
        head = headers(r, f"{shop} <orders@{host}>", who, subject, "X-Mailer: PHPMailer 6.8.1")
        return single(head, page(subject, inner, f"{shop} — built with care"), "html", "8bit")

    return write


def flash_order(r: Random, who: Person) -> bytes:
    """A drop: thousands buy the same one article within minutes."""
    number = r.randrange(10**6, 10**7)
    size = r.choice("XS S M L XL".split())
    text = (
        f"Hey {who.first}, you got it!\n\nOrder {number} is confirmed. We're getting it ready and will mail you when it "
        f"ships.\n\nNight Runner 2 (limited drop)  size {size}  × 1   €129.00\nShipping  €6.00\nTotal  €135.00\n\n"
        f"Ship to\n{who.name}\n{who.street}\n{who.city}\n\nView your order: https://drop.example/o/{r.getrandbits(64):x}\n\n"
        "If you have any questions, reply to this email."
    )
    head = headers(r, "Northlight <hello@drop.example>", who, f"Order {number} confirmed")
    return both(r, head, text, page("Order", paragraphs(text), f"Northlight GmbH {pixel(r, 'drop.example')}"))


def subscription_receipt(r: Random, who: Person) -> bytes:
    """A payment provider's receipt at the month's turn: the same sum for nearly everyone."""
    plan, price = r.choice((("Standard", "9.99"), ("Standard", "9.99"), ("Family", "14.99")))
    number = f"{r.randrange(1000, 9999)}-{r.randrange(1000, 9999)}"
    text = (
        f"Receipt from Streamly\n\nAmount paid ${price}\nDate paid Sep 1, 2026\nPayment method Visa •••• "
        f"{r.randrange(10000):04}\n\nReceipt number {number}\nInvoice number {r.getrandbits(32):08X}-00{r.randrange(10, 60)}\n\n"
        f"SEP 1 – OCT 1, 2026\nStreamly {plan}  Qty 1  ${price}\n\nTotal ${price}\nAmount charged ${price}\n\nIf you have any "
        "questions, contact us at support@streamly.example or call us at +1 555 0100.\n\nYou're receiving this email because "
        "you made a purchase at Streamly, which partners with a payment provider for invoicing and payment processing."
    )
    head = headers(r, "Streamly <receipts@pay.example>", who, f"Your receipt from Streamly #{number}")
    return both(r, head, text, page("Receipt", paragraphs(text), tracked(r, "pay.example", "View invoice")))


def concert_ticket(r: Random, who: Person) -> bytes:
    """Tickets of one evening: a rush when the sale opens, the same event for all."""
    seats = ", ".join(f"Row {r.randint(1, 40)} Seat {r.randint(1, 60)}" for _ in range(r.randint(1, 4)))
    ref = f"{r.getrandbits(40):010X}"
    text = (
        f"Hello {who.name},\n\nthank you for your booking. Your tickets for THE LONG WINTER, Velodrom, Sat 14 Nov 2026, "
        f"doors 19:00, are attached.\n\nBooking reference: {ref}\nSeats: {seats}\nBlock {r.randint(1, 30)}\nTotal: "
        f"{r.randint(1, 4) * 58},00 EUR\n\nPlease bring the tickets printed or on your phone. Each code is admitted once."
    )
    head = headers(r, "tickets@boxoffice.example", who, f"Your tickets - booking {ref}")
    return several(r, head, [part(text), attachment(r, f"{ref}.pdf", "application/pdf", 900)], "mixed")


# --- codes and links ---------------------------------------------------------------------------------------------------

CODES: dict[str, tuple[str, str]] = {
    "en": ("{c} is your verification code", "Your verification code is {c}. It expires in 10 minutes. Never share it."),
    "de": (
        "Ihr Sicherheitscode",
        "Guten Tag,\n\nIhr Einmalcode für die Anmeldung lautet:\n\n{c}\n\nDer Code ist 5 Minuten gültig. Geben Sie ihn an "
        "niemanden weiter, auch nicht an unsere Mitarbeiter. Falls Sie sich nicht anmelden wollten, ändern Sie bitte Ihr "
        "Passwort.\n\nFreundliche Grüße\nIhre Sparbank Online",
    ),
    "fr": (
        "Votre code de connexion",
        "Bonjour {n},\n\nVoici votre code : {c}\n\nIl est valable 15 minutes et ne peut servir qu'une fois. Si vous n'êtes "
        "pas à l'origine de cette demande, ignorez ce message.\n\nL'équipe Mobili",
    ),
    "es": ("Código {c}", "Hola {n}: introduce {c} para iniciar sesión. Caduca en 10 min. No compartas este código."),
    "pl": (
        "Kod weryfikacyjny",
        "Cześć {n},\n\nkod weryfikacyjny: {c}\n\nWpisz go w aplikacji w ciągu 10 minut. Jeśli to nie Ty, zignoruj tę wiadomość.",
    ),
    "tr": ("Doğrulama kodunuz", "Sayın {n},\n\nDoğrulama kodunuz: {c}\n\nBu kodu kimseyle paylaşmayınız. Kod 3 dakika geçerlidir."),
    "ja": ("認証コードのお知らせ", "{n} 様\n\n認証コード：{c}\n\n有効期限は10分です。このコードを他人に教えないでください。"),
    "words": ("Your sign-in code", "Here is your temporary login code:\n\n{w}\n\nIt can be used once, from the window you opened."),
}
SIXES = "acid baker cedar delta ember flint grove haste ivory jolly knack lemon maple nylon ocean pearl".split()


def code(language: str, *, dressed: bool) -> Writer:
    def write(r: Random, who: Person) -> bytes:
        subject, body = CODES[language]
        word = "-".join(r.choice(SIXES) for _ in range(4))
        digits = f"{r.randrange(10**6):06}"
        text = body.format(c=digits, n=who.first, w=word)
        head = headers(r, "Sign-in <no-reply@login.example>", who, subject.format(c=digits), "Auto-Submitted: auto-generated")
        if not dressed:
            return single(head, text, "plain", r.choice(("8bit", "base64")))
        inner = paragraphs(text).replace(digits, f"<b style='letter-spacing:6px'>{digits}</b>")
        agent = f"Requested from {who.city}, {r.choice(('Chrome on Windows', 'Safari on iPhone', 'Firefox on Linux'))}, "
        foot = f"{agent} IP {r.randrange(1, 223)}.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(256)}<br>© 2026 Login Inc."
        return both(r, head, text, page(subject, inner, foot))

    return write


def magic_link(r: Random, who: Person) -> bytes:
    link = f"https://app.notes.example/auth?token={r.getrandbits(256):064x}&email={who.email}"
    text = f"Log in to Notes\n\nClick this link to log in:\n{link}\n\nThe link is valid for 24 hours and can be used only once."
    head = headers(r, "Notes <team@notes.example>", who, "Log in to Notes")
    return both(r, head, text, page("Log in", f"<h1>Log in to Notes</h1><a href='{link}'>Click here to log in</a>", "Notes Labs"))


def django_reset(r: Random, who: Person) -> bytes:
    text = (
        "\nYou're receiving this email because you requested a password reset for your user account at portal.example.\n\n"
        f"Please go to the following page and choose a new password:\n\nhttps://portal.example/accounts/reset/"
        f"{base36(r)}/{base36(r)}-{r.getrandbits(128):032x}/\n\nYour username, in case you’ve forgotten: {who.email}\n\n"
        "Thanks for using our site!\n\nThe portal.example team\n\n"
    )
    return single(headers(r, "webmaster@portal.example", who, "Password reset on portal.example"), text, "plain", "8bit")


def base36(r: Random) -> str:
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(5))


def devise_reset(r: Random, who: Person) -> bytes:
    inner = (
        f"<p>Hello {who.email}!</p>\n<p>Someone has requested a link to change your password. You can do this through the "
        f'link below.</p>\n<p><a href="https://club.example/users/password/edit?reset_password_token={r.getrandbits(120):030x}">'
        "Change my password</a></p>\n<p>If you didn't request this, please ignore this email.</p>\n<p>Your password won't "
        "change until you access the link above and create a new one.</p>"
    )
    return single(headers(r, "noreply@club.example", who, "Reset password instructions"), inner, "html", "quoted-printable")


def forced_reset(r: Random, who: Person) -> bytes:
    """After a leak many users ask for a new password in the same quarter of an hour, from a richly worded template."""
    text = (
        f"Hi {who.first},\n\nWe received a request to reset the password for the Tandem account associated with {who.email}. "
        f"Use the button below to set up a new password for your account. This password reset is only valid for the next 24 "
        "hours.\n\nFor security, this request was received from a "
        f"{r.choice(('Windows', 'macOS', 'Android', 'iOS'))} device using {r.choice(('Chrome', 'Safari', 'Firefox'))}. If you did "
        "not request a password reset, please ignore this email or contact support if you have questions.\n\nThanks,\nThe "
        "Tandem Team\n\nIf you're having trouble with the button above, copy and paste the URL below into your web browser.\n\n"
        f"https://tandem.example/r/{r.getrandbits(160):040x}"
    )
    head = headers(r, "Tandem <support@tandem.example>", who, "Set up a new password for Tandem")
    return both(r, head, text, page("Reset", paragraphs(text), "© 2026 Tandem. All rights reserved. 1234 Street Rd. Suite 1234"))


def verify_address(r: Random, who: Person) -> bytes:
    text = (
        f"Welcome, {who.first}!\n\nThanks for trying Planboard. We’re thrilled to have you on board. To get the most out of "
        "Planboard, do this primary next step: confirm your address.\n\n"
        f"https://planboard.example/verify/{r.getrandbits(128):032x}\n\nFor reference, here's your login information:\n\n"
        f"Login Page: https://planboard.example/login\nUsername: {who.email}\nTrial Start Date: September {r.randint(1, 28)}, "
        "2026\n\nIf you have any questions, feel free to email our customer success team. (We're lightning quick at replying.) "
        "We also offer live chat during business hours.\n\nThanks,\nMaria and the Planboard Team\n\nP.S. Need immediate help "
        "getting started? Check out our help documentation. Or, just reply to this email, the Planboard support team is always "
        "ready to help!"
    )
    head = headers(r, "Planboard <hello@planboard.example>", who, f"Welcome, {who.first}!")
    return both(r, head, text, page("Welcome", paragraphs(text), "Planboard Inc."))


# --- goods under way, money owed, time booked ---------------------------------------------------------------------------


def parcel(r: Random, who: Person) -> bytes:
    number = f"{r.randrange(10**19, 10**20)}"
    day = r.choice("Montag Dienstag Mittwoch Donnerstag Freitag Samstag".split())
    text = (
        f"Guten Tag {who.name},\n\nIhr Paket von {r.choice(('Buchhaus', 'Schuhwelt', 'Technikmarkt', 'Gartenfreund'))} ist unterwegs "
        f"und wird voraussichtlich am {day} zwischen {r.randint(9, 12)}:00 und {r.randint(13, 18)}:00 Uhr zugestellt.\n\n"
        f"Sendungsnummer: {number}\nEmpfänger: {who.name}, {who.street}, {who.city}\n\nSendung verfolgen: "
        f"https://track.paket.example/{number}\n\nSie sind nicht zu Hause? Wählen Sie einen Wunschnachbarn oder eine Filiale.\n\n"
        "Bitte antworten Sie nicht auf diese Nachricht, sie wurde automatisch erstellt."
    )
    head = headers(r, "Paketdienst <noreply@paket.example>", who, f"Ihr Paket kommt am {day}")
    return both(r, head, text, page("Paket", paragraphs(text), "Paketdienst AG, Bonn"), "base64")


def shipped(r: Random, who: Person) -> bytes:
    goods = "".join(f"  {n} x {item}\n" for item, n, _ in basket(r, 4))
    text = (
        f"Hi {who.first},\n\nGood news: order {r.randrange(10**5, 10**6)} has left our warehouse.\n\nIn this parcel:\n{goods}\n"
        f"Carrier: {r.choice(('UPS', 'DHL', 'GLS', 'DPD'))}\nTracking: 1Z{r.getrandbits(60):015X}\nDelivery address: {who.street}, "
        f"{who.city}\n\nThanks for shopping with Fieldgoods."
    )
    return single(headers(r, "Fieldgoods <ship@fieldgoods.example>", who, "Your order is on its way"), text, "plain", "quoted-printable")


def invoice(r: Random, who: Person) -> bytes:
    number = f"RE-2026-{r.randrange(10_000):04}"
    lines = [(f"{r.choice(('Wartung', 'Beratung', 'Hosting', 'Lizenz', 'Montage'))} {r.choice('ABCDEF')}{r.randrange(99)}",
              r.randint(1, 12), r.randrange(2000, 20000) / 100) for _ in range(r.randint(1, 9))]  # fmt: skip
    table = "\n".join(f"{what:<22}{n:>4} x {price:>9.2f} {n * price:>10.2f}" for what, n, price in lines)
    net = sum(n * price for _, n, price in lines)
    text = (
        f"Sehr geehrte/r {who.name},\n\nanbei erhalten Sie die Rechnung {number} über {net * 1.19:.2f} EUR.\n\n{table}\n\nNetto "
        f"{net:.2f}\nMwSt. 19% {net * 0.19:.2f}\n\nBitte überweisen Sie den Betrag bis zum {r.randint(1, 28)}.10.2026 unter Angabe der "
        "Rechnungsnummer.\n\nMit freundlichen Grüßen\nBuchhaltung Hartmann & Söhne GmbH\nIndustriestraße 4, 70565 Stuttgart\n"
        "Geschäftsführer: K. Hartmann, HRB 12345"
    )
    head = headers(r, "rechnung@hartmann.example", who, f"Rechnung {number}")
    return several(r, head, [part(text), attachment(r, f"{number}.pdf", "application/pdf", 1500)], "mixed")


def payroll(r: Random, who: Person) -> bytes:
    """Payslips: once a month, everyone in one go; the words are the same, the paper is each one's own."""
    text = (
        f"Dear {who.first} {who.last},\n\nPlease find attached your payslip for September 2026 (employee no. {r.randrange(9000):04}). "
        "The file is protected with your personal password. If anything looks wrong, contact payroll@corp.example.\n\nHR Services"
    )
    head = headers(r, "payroll@corp.example", who, "Payslip September 2026")
    return several(r, head, [part(text), attachment(r, f"payslip-{r.randrange(9000):04}.pdf", "application/pdf", 1200)], "mixed")


def appointment(r: Random, who: Person) -> bytes:
    doctor = r.choice(("Dr. Weber", "Dr. Lang", "Dr. Acar"))
    text = (
        f"Hello {who.first},\n\nthis is a reminder of your appointment at Riverside Dental with {doctor} on "
        f"{r.choice(('Wednesday', 'Thursday'))}, {r.randint(8, 17)}:{r.choice(('00', '15', '30', '45'))}.\n\nIf you cannot make it, "
        f"please cancel at least 24 hours ahead: https://riverside.example/c/{r.getrandbits(50):x}\n\nRiverside Dental, 4 Quay Street"
    )
    return single(headers(r, "Riverside Dental <desk@riverside.example>", who, "Appointment reminder"), text, "plain", "8bit")


def booking(r: Random, who: Person) -> bytes:
    nights = r.randint(1, 9)
    text = (
        f"Dear {who.name},\n\nYour reservation at {r.choice(('Hotel Aurora', 'Casa Verde', 'The Old Mill', 'Pension Edel'))} in "
        f"{r.choice(('Lisbon', 'Vienna', 'Oslo', 'Split'))} is confirmed.\n\nConfirmation: {r.getrandbits(32):08X}\nCheck-in: {r.randint(1, 28)} "
        f"Oct 2026 from 15:00\nNights: {nights}\nRoom: {r.choice(('Double', 'Twin', 'Single', 'Family suite'))}\nGuests: {r.randint(1, 4)}\n"
        f"Price: EUR {nights * r.randrange(60, 240)}.00\n\nFree cancellation until 48 hours before arrival. City tax is paid on the spot.\n\n"
        "We wish you a pleasant stay."
    )
    return both(r, headers(r, "reservations@stay.example", who, "Booking confirmed"), text, page("Booking", paragraphs(text), "Stay BV"))


# --- machines to people -------------------------------------------------------------------------------------------------


def nagios(r: Random, who: Person) -> bytes:
    host = f"{r.choice(('web', 'db', 'cache', 'mx', 'k8s-node'))}{r.randint(1, 60):02}"
    service = r.choice(("HTTP", "Disk /var", "Load", "SSH", "MySQL Replication", "Swap", "NTP"))
    state = r.choice(("CRITICAL", "WARNING", "OK"))
    text = (
        f"***** Nagios *****\n\nNotification Type: {'RECOVERY' if state == 'OK' else 'PROBLEM'}\n\nService: {service}\nHost: {host}\n"
        f"Address: 10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(256)}\nState: {state}\n\nDate/Time: Tue Sep {r.randint(1, 28)} "
        f"{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02} UTC 2026\n\nAdditional Info:\n\n"
        f"{state} - {r.choice(('Socket timeout after 10 seconds', f'load average: {r.random() * 40:.2f}', f'{r.randint(1, 9)}% free'))}\n"
    )
    head = headers(r, "nagios@mon.example", who, f"** {'RECOVERY' if state == 'OK' else 'PROBLEM'} Service Alert: {host}/{service} is {state} **")
    return single(head, text, "plain", "8bit", "us-ascii")


def nagios_storm(r: Random, who: Person) -> bytes:
    """A switch died: hundreds of hosts say the same within minutes."""
    text = (
        f"***** Nagios *****\n\nNotification Type: PROBLEM\nHost: rack7-{r.randint(1, 400):03}\nState: DOWN\nAddress: 10.7.{r.randrange(256)}."
        f"{r.randrange(256)}\nInfo: CRITICAL - Host Unreachable (10.7.0.1)\n\nDate/Time: Tue Sep 8 03:1{r.randrange(10)}:{r.randrange(60):02} UTC 2026\n"
    )
    return single(headers(r, "nagios@mon.example", who, "** PROBLEM Host Alert: DOWN **"), text, "plain", "8bit", "us-ascii")


def alertmanager(r: Random, who: Person) -> bytes:
    alerts = [(r.choice(("HighLatency", "PodCrashLooping", "DiskWillFillIn4Hours", "TargetDown", "CertificateExpires")),
               f"{r.choice(('api', 'billing', 'search'))}-{r.getrandbits(20):05x}", r.choice(("warning", "critical")))
              for _ in range(r.randint(1, 8))]  # fmt: skip
    rows = "".join(
        f"<tr><td><strong>Labels</strong><br>alertname = {name}<br>instance = {pod}:9100<br>severity = {level}<br><strong>Annotations"
        f"</strong><br>description = {pod} has been in a bad state for more than {r.randint(5, 30)} minutes.<br>"
        f"<a href='http://prom:9090/graph?g0.expr={r.getrandbits(60):x}'>Source</a></td></tr>"
        for name, pod, level in alerts
    )
    inner = f"<h1>{len(alerts)} alert(s) for {alerts[0][0]}</h1><table><tr><td><strong>[{len(alerts)}] Firing</strong></td></tr>{rows}</table>"
    head = headers(r, "alertmanager@mon.example", who, f"[FIRING:{len(alerts)}] {alerts[0][0]}", "Content-Language: en")
    return single(head, page("Alert", inner, "<a href='http://am:9093'>Sent by Alertmanager</a>"), "html", "quoted-printable")


def cron(r: Random, who: Person) -> bytes:
    host = f"srv{r.randint(1, 80)}"
    text = r.choice((
        f"run-parts: /etc/cron.daily/logrotate exited with return code {r.randint(1, 4)}\n",
        "".join(f"rsync: send_files failed to open \"/home/u{r.randrange(99)}/.cache/{r.getrandbits(40):x}\": Permission denied (13)\n"
                for _ in range(r.randint(1, 12))),
        f"/var/backups/db-{r.randint(1, 28):02}.sql.gz: {r.randrange(10**8, 10**9)} bytes, {r.randint(20, 900)} s\nbackup finished\n",
    ))  # fmt: skip
    head = headers(r, f"root@{host}.corp.example (Cron Daemon)", who, f"Cron <root@{host}> test -x /usr/sbin/anacron || run-parts", "X-Cron-Env: <SHELL=/bin/sh>")
    return single(head, text, "plain", "8bit")


def build(r: Random, who: Person) -> bytes:
    repo, sha = f"{r.choice(('acme', 'orbit', 'lumen'))}/{r.choice(('api', 'web', 'infra', 'docs'))}", f"{r.getrandbits(160):040x}"
    jobs = "".join(f"  * {job}  {r.choice(('succeeded', 'failed', 'cancelled'))} ({r.randint(0, 9)} annotations)\n"
                   for job in r.sample(("lint", "unit (3.11)", "unit (3.12)", "e2e", "package", "docs"), r.randint(1, 5)))  # fmt: skip
    text = (
        f"[{repo}] CI workflow run\n\n{r.choice(('CI: All jobs have failed', 'CI: Some jobs were not successful', 'CI: Fixed'))}\n\nView "
        f"workflow run:\nhttps://git.example/{repo}/actions/runs/{r.randrange(10**10)}\n\n{jobs}\nCommit {sha[:7]} by {who.first}\n\n--\nYou are "
        "receiving this because you are subscribed to this thread.\nManage your CI notifications: https://git.example/settings/notifications"
    )
    head = headers(r, f"{who.first} <notifications@git.example>", who, f"[{repo}] Run failed: CI - main ({sha[:7]})", "X-CI-Reason: ci_activity")
    return both(r, head, text, page("CI", paragraphs(text), "Git Inc."))


WORRIES = (
    "The export button does nothing since the update,I was charged twice in August,Can you move our meeting to Thursday,The printer on "
    "floor 3 jams on every second page,Login works on my phone but not on my laptop,Please add Kim to the project group,The invoice has "
    "the wrong VAT number,How do I change my delivery address,The report for Q2 shows no data,VPN drops every ten minutes"
).split(",")


def ticket_update(r: Random, who: Person) -> bytes:
    """A help desk answers one customer; the quoted thread is their own."""
    number = r.randrange(10**5, 10**6)
    thread = "\n> ".join(r.sample(WORRIES, r.randint(1, 4)))
    text = (
        f"##- Please type your reply above this line -##\n\nYour request ({number}) has been updated. To add additional comments, reply to "
        f"this email.\n\n{r.choice(('Lena', 'Tom', 'Aisha'))} (Support)\nSep {r.randint(1, 28)}, 2026\n\nHi {who.first},\n\n{r.choice(WORRIES)}? "
        f"We had a look at it and {r.choice(('it should work now', 'need a screenshot', 'passed it to the developers', 'refunded the amount'))}.\n\n"
        f"> {thread}\n\nThis email is a service from Helpdesk. [{r.getrandbits(48):012X}]"
    )
    return both(r, headers(r, "Support <support@desk.example>", who, f"[Request {number}] Update"), text, page("Ticket", paragraphs(text), "Helpdesk"))


def ticket_received(r: Random, who: Person) -> bytes:
    """The automatic answer to a contact form; after an outage hundreds go out in minutes."""
    number = r.randrange(10**5, 10**6)
    text = (
        f"Hello,\n\nthank you for getting in touch. We have received your request \"{r.choice(WORRIES)}\" and gave it the number {number}.\n\n"
        "Our team works Monday to Friday from 9 to 18 h and usually answers within one working day. You need not do anything else; to add "
        "something, simply answer this message and leave the number in the subject line.\n\nKind regards\nCustomer service, Bluewire"
    )
    return single(headers(r, "help@bluewire.example", who, f"[#{number}] We have received your request", "Auto-Submitted: auto-replied"), text)


def invitation(r: Random, who: Person) -> bytes:
    """A meeting of few, as a calendar server sends it."""
    topic = r.choice(("1:1", "Budget review", "Sprint planning", "Interview", "Contract Kowalski", "Design sync", "Retro", "Kick-off Orbit"))
    host, start = r.choice(("Anna Weber", "Tom Lang", "Ines Roy")), f"202609{r.randint(10, 28)}T{r.randint(8, 17):02}0000Z"
    calendar = (
        "BEGIN:VCALENDAR\nPRODID:-//Example//Calendar 70.9//EN\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VEVENT\n"
        f"DTSTART:{start}\nUID:{r.getrandbits(128):032x}@cal.example\nORGANIZER;CN={host}:mailto:x@corp.example\nATTENDEE;PARTSTAT=NEEDS-ACTION:"
        f"mailto:{who.email}\nSUMMARY:{topic}\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    text = (
        f"{topic}\n{start}\nOrganizer: {host}\nhttps://meet.example/{r.getrandbits(50):x}\nJoin by phone +49 30 {r.randrange(10**6)} PIN: {r.randrange(10**9)}\n\n"
        f"Reply for {who.email}: Yes - No - Maybe\n\nInvitation from Calendar. You are receiving this email because you are an attendee on the event. "
        "Forwarding this invitation could allow any recipient to send a response to the organizer, be added to the guest list, invite others "
        "regardless of their own invitation status, or modify your RSVP."
    )
    parts = [part(text), part(page(topic, paragraphs(text), "Calendar"), "html"), part(calendar, "calendar", "base64")]
    return several(r, headers(r, f"{host} <calendar@cal.example>", who, f"Invitation: {topic}"), parts)


def statement(make: Callable[[Random], str]) -> Writer:
    """A bank's or shop's reaction to one person's act, with their own figures."""

    def write(r: Random, who: Person) -> bytes:
        text = f"Dear {who.name},\n\n{make(r)}\n\nIf this was not you, call us at once on 0800 555 010.\n\nYour Meridian Bank"
        return single(headers(r, "Meridian Bank <alerts@meridian.example>", who, "Card activity"), text, "html", "quoted-printable")

    return write


def card(r: Random) -> str:
    shop = r.choice(("Supermarket Nord", "City Parking", "Coffee Lab", "Rail tickets", "Pharmacy", "Online store"))
    return f"your card ending {r.randrange(10000):04} was used for EUR {r.randrange(100, 30000) / 100:.2f} at {shop} on {r.randint(1, 28)} September."


def flows(seed: int) -> list[Flow]:
    """Every transactional flow with its hours."""
    r = Random(f"personal/{seed}")

    def flow(sort: str, sender: str, write: Writer, times: tuple[float, ...], team: int = 0) -> Flow:
        return Flow("transactional", sort, sender, write, times, team, seed)

    hour, day = 3600.0, 86_400.0
    return [
        flow("order receipts", "shop A", shop_order("Kettle & Co", "kettle.example"), trickle(r, 900, day)),
        flow("order receipts", "shop B at a sale", shop_order("Stadtrad", "stadtrad.example"), peak(r, 1500, 2 * hour)),
        flow("one article, a drop", "Northlight", flash_order, peak(r, 2000, 600)),
        flow("subscription receipts", "month's turn", subscription_receipt, batch(3000, 10)),
        flow("concert tickets", "box office", concert_ticket, peak(r, 1500, 900)),
        *[flow("codes, plain", name, code(name, dressed=False), trickle(r, 300, 3 * hour)) for name in CODES],
        *[flow("codes, dressed", name, code(name, dressed=True), trickle(r, 300, 3 * hour)) for name in CODES],
        *[flow("codes, 500 in a minute", name, code(name, dressed=True), peak(r, 500, 60)) for name in CODES],
        *[flow("codes, plain, 500 in a minute", name, code(name, dressed=False), peak(r, 500, 60)) for name in CODES],
        flow("login links", "Notes", magic_link, peak(r, 800, hour)),
        flow("password resets", "Django", django_reset, trickle(r, 300, 6 * hour)),
        flow("password resets", "Devise", devise_reset, trickle(r, 300, 6 * hour)),
        flow("password resets, a rush", "Tandem", forced_reset, peak(r, 2000, 900)),
        flow("welcome, confirm address", "Planboard", verify_address, peak(r, 700, 2 * hour)),
        flow("parcel notices", "carrier", parcel, batch(3000, 5)),
        flow("shipping notices", "Fieldgoods", shipped, batch(600, 2)),
        flow("invoices", "Hartmann", invoice, batch(400, 3)),
        flow("payslips", "payroll", payroll, batch(1200, 10)),
        flow("appointment reminders", "dentist", appointment, batch(250, 1)),
        flow("bookings", "hotels", booking, trickle(r, 700, 8 * hour)),
        flow("Nagios", "a quiet day", nagios, trickle(r, 400, day), 6),
        flow("Nagios, a rack down", "a storm", nagios_storm, peak(r, 1200, 300), 6),
        flow("Alertmanager", "monitoring", alertmanager, trickle(r, 400, 6 * hour), 8),
        flow("cron output", "80 hosts", cron, peak(r, 400, 600), 5),
        flow("build results", "forge", build, trickle(r, 1500, 8 * hour)),
        flow("ticket answers", "help desk", ticket_update, trickle(r, 1200, 8 * hour)),
        flow("ticket received", "after an outage", ticket_received, peak(r, 900, 1200)),
        flow("invitations of few", "calendar", invitation, trickle(r, 900, 8 * hour)),
        flow("card alerts", "bank", statement(card), peak(r, 3000, hour)),
    ]
