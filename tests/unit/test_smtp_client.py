"""Whole sessions: what is said in which order, and what each recipient gets."""

import pytest

from relay.core.classify import Kind
from relay.core.envelope import Recipient
from relay.core.outcome import Phase, Scope, Trouble, Verdict
from relay.smtp.client import (
    Closed,
    Conversation,
    Login,
    Ready,
    Result,
    SendBody,
    StartTls,
    Timeouts,
    WantTls,
)
from relay.smtp.states import IllegalEvent
from tests.unit.smtp_dialogue import (
    OPENING,
    PLAIN_OPENING,
    conversation,
    delivery,
    dialogue,
    only,
    opened,
    verdicts,
)

ENVELOPE = """
    C: MAIL FROM:<ann@example.com> SIZE=1000
    C: RCPT TO:<bob@example.net>
    C: DATA
"""
TAKEN = """
    S: 250 2.1.0 ok
    S: 250 2.1.5 ok
    S: 354 go
"""


def at_dot(*deliveries):
    """A session that waits for the answer to the first delivery's dot."""
    talk = opened()
    talk.begin(deliveries[0] if deliveries else delivery())
    assert dialogue(talk, ENVELOPE + TAKEN)[-1] == SendBody("m1")
    assert talk.body_sent(*deliveries[1:]) == []
    return talk


# --- carrying mail -------------------------------------------------------------------------------


def test_a_message_goes_out_in_one_group_and_is_delivered():
    talk = opened()
    assert talk.can_begin
    assert talk.begin(delivery()) == []
    assert dialogue(talk, ENVELOPE + TAKEN) == [SendBody("m1")]
    assert talk.phase is Phase.BODY
    assert talk.body_sent() == []
    assert talk.phase is Phase.DOT
    result, ready = dialogue(talk, "S: 250 2.0.0 queued as 17")
    assert verdicts(result) == ["delivered"]
    assert result.dsn_passed_on
    assert result.outcomes[0].text == "250 2.0.0 queued as 17"
    assert result.outcomes[0].status == "2.0.0"
    assert ready == Ready()
    talk.quit()
    assert dialogue(talk, "C: QUIT\nS: 221 bye") == [Closed(None)]
    assert talk.closed


def test_the_next_message_is_named_behind_the_dot_and_costs_one_round_trip():
    talk = at_dot(delivery("m1"), delivery("m2"))
    happenings = dialogue(talk, ENVELOPE + "S: 250 one" + TAKEN)
    assert [type(one) for one in happenings] == [Result, SendBody]
    assert happenings[0].token == "m1"
    assert happenings[1] == SendBody("m2")


def test_without_pipelining_one_command_waits_for_the_other():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    happenings = dialogue(talk, """
        C: MAIL FROM:<ann@example.com>
        S: 250 ok
        C: RCPT TO:<a@example.net>
        S: 250 ok
        C: RCPT TO:<b@example.net>
        S: 550 who?
        C: DATA
        S: 354 go
    """)
    assert happenings == [SendBody("m1")]
    assert talk.body_sent(delivery("m2")) == []
    happenings = dialogue(talk, "S: 250 ok\nC: MAIL FROM:<ann@example.com>")
    assert verdicts(happenings[0]) == ["delivered", "failed"]
    assert not happenings[0].dsn_passed_on
    assert talk.phase is Phase.MAIL


def test_a_following_message_that_cannot_be_sent_here_ends_at_once():
    talk = opened()
    talk.begin(delivery())
    dialogue(talk, ENVELOPE + TAKEN)
    assert only(talk.body_sent(delivery("big", size=2_000_000))).trouble is Trouble.TOO_LARGE
    result, ready = dialogue(talk, "S: 250 ok")
    assert result.token == "m1"
    assert ready == Ready()


def test_without_pipelining_a_following_message_that_cannot_be_sent_ends_after_the_dot():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery())
    dialogue(talk, """
        C: MAIL FROM:<ann@example.com>
        S: 250 ok
        C: RCPT TO:<bob@example.net>
        S: 250 ok
        C: DATA
        S: 354 go
    """)
    talk.body_sent(delivery("8bit", eight_bit=True))
    first, second, ready = dialogue(talk, "S: 250 ok")
    assert verdicts(first) == ["delivered"]
    assert second.outcomes[0].trouble is Trouble.NO_8BITMIME
    assert "eight_bit: encode" in second.outcomes[0].text
    assert ready == Ready()


def test_every_parameter_the_server_knows_is_passed_on_as_it_came():
    talk = opened()
    talk.begin(delivery(
        sender="ann@exämple.com", eight_bit=True, utf8=True, ret="HDRS", envid="a+2Bb",
        recipients=(Recipient("bob@example.net", frozenset({"DELAY", "SUCCESS"}), "rfc822;B+2Bob@x"),
                    Recipient("cy@example.net", frozenset({"NEVER"}))),
    ))
    dialogue(talk, """
        C: MAIL FROM:<ann@exämple.com> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb
        C: RCPT TO:<bob@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bob@x
        C: RCPT TO:<cy@example.net> NOTIFY=NEVER
        C: DATA
    """)


def test_no_dsn_parameter_reaches_a_server_without_dsn():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery(ret="FULL", envid="x", sender="",
                        recipients=(Recipient("b@example.net", frozenset({"NEVER"}), "rfc822;b@x"),)))
    dialogue(talk, "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<b@example.net>")


def test_many_recipients_go_in_groups_of_a_hundred():
    talk = opened()
    talk.begin(delivery("m1", *(f"r{index}@example.net" for index in range(250))))
    said = talk.take_output().decode().splitlines()
    assert (said[0][:4], said[-1]) == ("MAIL", "RCPT TO:<r99@example.net>")
    assert len(said) == 101
    talk.receive(b"250 ok\r\n" * 101)
    assert len(talk.take_output().decode().splitlines()) == 100
    talk.receive(b"250 ok\r\n" * 100)
    said = talk.take_output().decode().splitlines()
    assert (len(said), said[-1]) == (51, "DATA")


def test_exactly_a_hundred_recipients_and_data_are_one_group():
    talk = opened()
    talk.begin(delivery("m1", *(f"r{index}@example.net" for index in range(100))))
    assert talk.take_output().decode().splitlines()[-1] == "DATA"


def test_a_sender_refused_in_the_first_group_ends_the_matter():
    talk = opened()
    talk.begin(delivery("m1", *(f"r{index}@example.net" for index in range(101))))
    talk.take_output()
    result, ready = talk.receive(b"550 5.7.1 no\r\n" + b"503 what?\r\n" * 100)
    assert set(verdicts(result)) == {"failed"}
    assert ready == Ready()
    assert talk.take_output() == b""


# --- refusals ------------------------------------------------------------------------------------


def test_refused_recipients_keep_their_own_replies():
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net", "c@example.net"))
    talk.take_output()
    dialogue(talk, "S: 250 ok\nS: 550 5.1.1 no such user\nS: 450 4.2.0 busy\nS: 250 ok\nS: 354 go")
    talk.body_sent()
    result = dialogue(talk, "S: 552 5.3.4 too big")[0]
    assert verdicts(result) == ["failed", "deferred", "failed"]
    assert [one.kind for one in result.outcomes] == [
        Kind.INVALID_RECIPIENT, Kind.UNCATEGORIZED, Kind.MESSAGE_TOO_LARGE]
    assert [one.scope for one in result.outcomes] == [Scope.RECIPIENT, Scope.RECIPIENT, Scope.MESSAGE]


@pytest.mark.parametrize("code", ["452 too many recipients", "452 4.5.3 enough", "552 5.5.3 enough"])
def test_too_many_recipients_is_no_attempt_for_those_left_over(code):
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    talk.take_output()
    dialogue(talk, f"S: 250 ok\nS: 250 ok\nS: {code}\nS: 354 go")
    talk.body_sent()
    result = dialogue(talk, "S: 250 ok")[0]
    assert verdicts(result) == ["delivered", "deferred"]
    left = result.outcomes[1]
    assert (left.kind, left.scope, left.untouched) == (Kind.TOO_MANY_RECIPIENTS, Scope.MESSAGE, True)
    assert not result.untouched


@pytest.mark.parametrize("replies", [
    "S: 452 4.5.3 enough\nS: 250 ok", "S: 250 ok\nS: 452 4.2.2 mailbox full"])
def test_a_452_that_means_something_else_is_an_attempt(replies):
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    talk.take_output()
    dialogue(talk, f"S: 250 ok\n{replies}\nS: 354 go")
    talk.body_sent()
    result = dialogue(talk, "S: 250 ok")[0]
    assert sorted(verdicts(result)) == ["deferred", "delivered"]
    assert not any(one.untouched for one in result.outcomes)


def test_a_refused_sender_is_every_recipients_verdict_and_needs_no_rset():
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    talk.take_output()
    result, ready = dialogue(talk, "S: 450 4.7.1 later\nS: 503 no\nS: 503 no\nS: 503 no")
    assert verdicts(result) == ["deferred", "deferred"]
    assert result.outcomes[0].phase is Phase.MAIL
    assert ready == Ready()
    talk.begin(delivery())
    dialogue(talk, ENVELOPE)


def test_all_recipients_refused_and_data_too_then_rset_goes_with_the_next_group():
    talk = opened()
    talk.begin(delivery())
    result, _ = dialogue(talk, ENVELOPE + "S: 250 ok\nS: 550 no\nS: 554 no valid recipients")
    assert verdicts(result) == ["failed"]
    assert result.outcomes[0].phase is Phase.RCPT
    talk.begin(delivery("m2"))
    assert dialogue(talk, "C: RSET" + ENVELOPE + "S: 250 flushed" + TAKEN) == [SendBody("m2")]


def test_data_taken_without_recipients_is_ended_by_a_lone_dot():
    talk = opened()
    talk.begin(delivery())
    result, ready = dialogue(talk, ENVELOPE + "S: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 nobody")
    assert verdicts(result) == ["failed"]
    assert ready == Ready()
    talk.begin(delivery("m2"))
    dialogue(talk, ENVELOPE)


def test_data_refused_is_for_the_recipients_that_were_taken():
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    talk.take_output()
    result, _ = dialogue(talk, "S: 250 ok\nS: 550 no\nS: 250 ok\nS: 451 4.3.0 later")
    assert verdicts(result) == ["failed", "deferred"]
    assert [one.phase for one in result.outcomes] == [Phase.RCPT, Phase.DATA]


def test_without_pipelining_no_data_is_asked_for_nobody_and_rset_waits_for_its_reply():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery())
    happenings = dialogue(talk, """
        C: MAIL FROM:<ann@example.com>
        S: 250 ok
        C: RCPT TO:<bob@example.net>
        S: 550 no
    """)
    assert only(happenings).verdict is Verdict.FAILED
    talk.begin(delivery("m2"))
    assert talk.phase is Phase.RSET
    dialogue(talk, "C: RSET\nS: 250 ok\nC: MAIL FROM:<ann@example.com>")


def test_without_pipelining_a_refused_sender_names_no_recipient():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery())
    assert only(dialogue(talk, "C: MAIL FROM:<ann@example.com>\nS: 550 no")).phase is Phase.MAIL


def test_a_refused_rset_ends_the_session():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery())
    dialogue(talk, "C: MAIL FROM:<ann@example.com>\nS: 250 ok\nC: RCPT TO:<bob@example.net>\nS: 550 no")
    talk.begin(delivery("m2"))
    result, closed = dialogue(talk, "C: RSET\nS: 500 what?\nC: QUIT")
    assert verdicts(result) == ["deferred"]
    assert closed.outcome.phase is Phase.RSET


@pytest.mark.parametrize(("bad", "trouble"), [
    ({"size": 1_000_001}, Trouble.TOO_LARGE),
    ({"sender": "a\r\nRCPT TO:<x>"}, Trouble.UNWRITABLE),
    ({"envid": "a b"}, Trouble.UNWRITABLE),
    ({"envid": "ä"}, Trouble.UNWRITABLE),
    ({"ret": "HDRS\n"}, Trouble.UNWRITABLE),
    ({"recipients": (Recipient("x\0@example.net"),)}, Trouble.UNWRITABLE),
    ({"recipients": (Recipient("x@example.net", orcpt="rfc822;x\r"),)}, Trouble.UNWRITABLE),
])
def test_what_cannot_succeed_is_not_tried(bad, trouble):
    talk = opened()
    outcome = only(talk.begin(delivery(**bad)))
    assert (outcome.trouble, outcome.verdict) == (trouble, Verdict.FAILED)
    assert talk.take_output() == b""
    assert talk.can_begin


@pytest.mark.parametrize("needs", [
    {"utf8": True}, {"sender": "ä@example.com"}, {"recipients": (Recipient("ä@example.net"),)}])
def test_addresses_that_are_not_ascii_need_smtputf8(needs):
    outcome = only(opened(PLAIN_OPENING).begin(delivery(**needs)))
    assert (outcome.trouble, outcome.status) == (Trouble.NO_SMTPUTF8, "5.6.7")


def test_a_recipient_that_is_not_ascii_makes_the_transaction_smtputf8():
    talk = opened()
    talk.begin(delivery("m1", "ä@example.net"))
    dialogue(talk, """
        C: MAIL FROM:<ann@example.com> SIZE=1000 SMTPUTF8
        C: RCPT TO:<ä@example.net>
        C: DATA
    """)


def test_an_orcpt_that_is_not_ascii_is_written_as_the_transaction_allows():
    for utf8, orcpt, written in (
        (True, "utf-8;ä€+2B@example.net", "utf-8;ä€+2B@example.net"),
        (False, "utf-8;ä€+2B@example.net", r"utf-8;\x{E4}\x{20AC}+2B@example.net"),
        (False, "rfc822;Ann+2B@example.net", "rfc822;Ann+2B@example.net"),
    ):
        talk = opened()
        talk.begin(delivery(utf8=utf8, recipients=(Recipient("a@example.net", orcpt=orcpt),)))
        assert f"RCPT TO:<a@example.net> ORCPT={written}\r\n".encode() in talk.take_output()


def test_one_bad_recipient_does_not_cost_the_others_their_mail():
    talk = opened()
    talk.begin(delivery("m1", "a\n@example.net", "bob@example.net"))
    dialogue(talk, ENVELOPE + TAKEN)
    talk.body_sent()
    assert verdicts(dialogue(talk, "S: 250 ok")[0]) == ["failed", "delivered"]


def test_a_delivery_for_nobody_is_a_result_for_nobody():
    assert opened().begin(delivery(recipients=())) == [Result("m1", (), True)]


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("banner", ["554 no mail here", "450 later", "354 what?"])
def test_an_unfriendly_banner_is_the_hosts_trouble_and_gets_a_quit(banner):
    talk = conversation()
    assert dialogue(talk, f"S: {banner}\nC: QUIT") == []
    (closed,) = dialogue(talk, "S: 221 bye")
    assert (closed.outcome.verdict, closed.outcome.scope) == (Verdict.DEFERRED, Scope.HOST)
    assert closed.outcome.status[0] == "4"


def test_a_banner_of_421_ends_it_without_quit():
    (closed,) = dialogue(conversation(), "S: 421 4.3.2 too busy")
    assert closed.outcome.scope is Scope.HOST


def test_old_servers_are_greeted_with_helo():
    talk = opened("S: 220 old\nC: EHLO relay.example.com\nS: 500 what?\nC: HELO relay.example.com\nS: 250 hi")
    assert not talk.capabilities.pipelining


@pytest.mark.parametrize("replies", ["S: 450 later", "S: 502 no\nC: HELO relay.example.com\nS: 550 no"])
def test_refused_ehlo_and_helo_are_the_hosts_trouble(replies):
    talk = conversation()
    dialogue(talk, f"S: 220 hi\nC: EHLO relay.example.com\n{replies}\nC: QUIT")
    assert talk.lost()[0].outcome.phase is Phase.EHLO


HELLO = "S: 220 mx\nC: EHLO relay.example.com\nS: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH LOGIN PLAIN\n"


def test_starttls_forgets_what_was_said_in_clear():
    talk = conversation()
    assert dialogue(talk, HELLO + "C: STARTTLS\nS: 220 go") == [WantTls()]
    assert talk.phase is Phase.TLS
    assert talk.receive(b"") == []
    assert talk.tls_done() == []
    assert talk.tls
    assert not talk.capabilities.starttls
    assert dialogue(talk, "C: EHLO relay.example.com\nS: 250-mx\nS: 250 STARTTLS") == [Ready()]


def test_tls_may_be_refused_where_it_is_only_an_opportunity():
    assert dialogue(conversation(), HELLO + "C: STARTTLS\nS: 454 not now") == [Ready()]
    assert dialogue(conversation(StartTls.NEVER), HELLO) == [Ready()]


@pytest.mark.parametrize("opening", [
    HELLO + "C: STARTTLS\nS: 454 not now", PLAIN_OPENING,
    "S: 220 hi\nC: EHLO relay.example.com\nS: 500 what?\nC: HELO relay.example.com\nS: 250 hi"])
def test_required_tls_is_required(opening):
    talk = conversation(StartTls.REQUIRED)
    assert dialogue(talk, opening + "\nC: QUIT") == []
    (closed,) = talk.timed_out()
    assert closed.outcome.trouble is Trouble.TLS_REQUIRED_MISSING
    assert closed.outcome.scope is Scope.HOST


def test_a_failed_handshake_ends_the_session():
    talk = conversation()
    dialogue(talk, HELLO + "C: STARTTLS\nS: 220 go")
    (closed,) = talk.tls_failed("certificate has expired")
    assert closed.outcome.trouble is Trouble.TLS_HANDSHAKE
    assert closed.outcome.text == "certificate has expired"
    assert talk.closed


@pytest.mark.parametrize("injected", [b"250 ok\r\n", b"2", b"nonsense\r\n"])
def test_bytes_in_clear_behind_the_reply_to_starttls_end_it(injected):
    for cut in (True, False):
        talk = conversation()
        dialogue(talk, HELLO + "C: STARTTLS")
        if cut:
            assert talk.receive(b"220 go\r\n") == [WantTls()]
            (closed,) = talk.receive(injected)
        else:
            (closed,) = talk.receive(b"220 go\r\n" + injected)
        assert closed.outcome.trouble is Trouble.PROTOCOL
        assert talk.take_output() == b""


def test_a_session_inside_tls_from_the_start_asks_for_none():
    talk = conversation(StartTls.REQUIRED, secured=True)
    assert dialogue(talk, HELLO) == [Ready()]


LOGIN = Login("ann", "secret")


def test_login_plain_then_ready():
    talk = conversation(secured=True, login=LOGIN)
    assert dialogue(talk, HELLO + "C: AUTH PLAIN AGFubgBzZWNyZXQ=\nS: 235 welcome") == [Ready()]
    assert "secret" not in repr(LOGIN)


def test_login_answers_challenges():
    talk = conversation(secured=True, login=LOGIN)
    opening = HELLO.replace("AUTH LOGIN PLAIN", "AUTH=LOGIN")
    happenings = dialogue(talk, opening + """
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: YW5u
S: 334 UGFzc3dvcmQ6
C: c2VjcmV0
S: 235 welcome""")
    assert happenings == [Ready()]


def test_a_refused_login_is_the_hosts_trouble_and_fails_no_mail():
    talk = conversation(secured=True, login=LOGIN)
    dialogue(talk, HELLO + "C: AUTH PLAIN AGFubgBzZWNyZXQ=\nS: 535 5.7.8 no\nC: QUIT")
    (closed,) = dialogue(talk, "S: 221 bye")
    assert (closed.outcome.verdict, closed.outcome.scope) == (Verdict.DEFERRED, Scope.HOST)
    assert closed.outcome.status == "4.7.8"


def test_endless_challenges_end_it():
    talk = conversation(secured=True, login=LOGIN)
    asked_twice = "C: AUTH PLAIN AGFubgBzZWNyZXQ=\nS: 334 \nC: AGFubgBzZWNyZXQ=\nS: 334 "
    (closed,) = dialogue(talk, HELLO + asked_twice)
    assert closed.outcome.trouble is Trouble.PROTOCOL


@pytest.mark.parametrize(("opening", "tls"), [(HELLO, False), (PLAIN_OPENING, True)])
def test_no_password_without_tls_or_without_a_mechanism(opening, tls):
    talk = conversation(StartTls.NEVER, secured=tls, login=LOGIN)
    dialogue(talk, opening + "\nC: QUIT")
    assert talk.lost()[0].outcome.trouble is Trouble.LOGIN_IMPOSSIBLE


def test_a_password_in_clear_where_that_is_allowed():
    talk = conversation(StartTls.NEVER, login=Login("ann", "secret", clear_allowed=True))
    dialogue(talk, HELLO + "C: AUTH PLAIN AGFubgBzZWNyZXQ=")


# --- endings -------------------------------------------------------------------------------------


def test_421_in_an_idle_session_says_so_to_what_is_not_begun():
    (closed,) = dialogue(opened(), "S: 421 idle too long")
    assert (closed.outcome.scope, closed.outcome.phase) == (Scope.SESSION, Phase.IDLE)


def test_421_in_a_first_transaction_is_an_attempt():
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    talk.take_output()
    result, closed = dialogue(talk, "S: 250 ok\nS: 550 no\nS: 421 4.3.2 going down")
    assert verdicts(result) == ["failed", "deferred"]
    assert result.outcomes[1].scope is Scope.SESSION
    assert not result.outcomes[1].untouched
    assert closed.outcome.reply.code == 421


def test_421_in_a_later_transaction_is_none():
    talk = at_dot()
    dialogue(talk, "S: 250 ok")
    talk.begin(delivery("m2"))
    talk.take_output()
    result, _ = dialogue(talk, "S: 421 that was enough")
    assert result.untouched


def test_421_to_the_dot_answers_it_and_leaves_the_next_untouched():
    talk = at_dot(delivery("m1"), delivery("m2"))
    talk.take_output()
    first, second, _ = dialogue(talk, "S: 421 4.3.2 going down")
    assert first.outcomes[0].trouble is None
    assert verdicts(first) == ["deferred"]
    assert not first.untouched
    assert second.untouched


def test_lost_after_the_dot_is_a_state_of_its_own():
    talk = at_dot(delivery("m1"), delivery("m2"))
    first, second, closed = talk.lost()
    assert first.outcomes[0].trouble is Trouble.LOST_AFTER_DOT
    assert not first.untouched
    assert second.token == "m2"
    assert second.untouched
    assert closed.outcome.trouble is Trouble.LOST
    assert talk.lost() == []
    assert talk.receive(b"250 ok\r\n") == []


def test_a_dot_without_answer_in_time_is_lost_after_the_dot_too():
    outcome = at_dot().timed_out()[0].outcomes[0]
    assert outcome.trouble is Trouble.LOST_AFTER_DOT
    assert "within 600 seconds" in outcome.text


def test_what_waits_without_pipelining_is_untouched_when_the_session_ends():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery())
    talk.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.body_sent(delivery("m2", "a@example.net", "b@example.net"))
    first, second, _ = talk.lost()
    assert first.outcomes[0].trouble is Trouble.LOST_AFTER_DOT
    assert second.untouched
    assert len(second.outcomes) == 2


def test_lost_while_the_body_goes_out_is_an_attempt_in_a_first_transaction():
    talk = opened()
    talk.begin(delivery())
    dialogue(talk, ENVELOPE + TAKEN)
    result, _ = talk.lost()
    assert result.outcomes[0].trouble is Trouble.LOST
    assert result.outcomes[0].phase is Phase.BODY
    assert not result.untouched


@pytest.mark.parametrize(("reply", "verdict"), [
    ("552 5.3.4 too big", Verdict.FAILED), ("451 later", Verdict.DEFERRED), ("250 ok", Verdict.DEFERRED)])
def test_a_reply_before_the_dot_counts_if_it_refuses_and_ends_the_session(reply, verdict):
    talk = opened()
    talk.begin(delivery())
    dialogue(talk, ENVELOPE + TAKEN)
    result, closed = dialogue(talk, f"S: {reply}")
    assert result.outcomes[0].verdict is verdict
    assert closed.outcome.verdict is Verdict.DEFERRED


@pytest.mark.parametrize("replies", ["354 go", "250 ok\n354 go", "250 ok\n250 ok\n250 ok"])
def test_a_reply_of_the_wrong_kind_ends_the_session(replies):
    talk = opened()
    talk.begin(delivery())
    talk.take_output()
    happenings = talk.receive(replies.replace("\n", "\r\n").encode() + b"\r\n")
    assert only(happenings).trouble is Trouble.PROTOCOL
    assert isinstance(happenings[-1], Closed)


def test_a_354_to_the_dot_is_no_delivery():
    talk = at_dot()
    talk.take_output()
    result, closed = dialogue(talk, "S: 354 more?")
    assert verdicts(result) == ["deferred"]
    assert closed.outcome.trouble is Trouble.PROTOCOL


def test_a_reply_nobody_asked_for_ends_the_session_after_the_result():
    talk = at_dot()
    result, ready, closed = talk.receive(b"250 ok\r\n250 and another\r\n")
    assert verdicts(result) == ["delivered"]
    assert ready == Ready()
    assert closed.outcome.trouble is Trouble.PROTOCOL
    assert talk.take_output() == b"QUIT\r\n"


def test_time_is_up_in_each_phase():
    talk = conversation(timeouts=Timeouts(banner_s=7.0))
    assert (talk.phase, talk.timeout_s) == (Phase.BANNER, 7.0)
    (closed,) = talk.timed_out()
    assert closed.outcome.text == "no answer in phase banner within 7 seconds"
    assert closed.outcome.scope is Scope.HOST
    idle = opened()
    assert idle.timeout_s == 30.0
    assert idle.timed_out() == []
    assert idle.phase is Phase.QUIT
    assert idle.timed_out() == [Closed(None)]
    assert idle.timed_out() == []
    assert {Timeouts().of(phase) > 0 for phase in Phase} == {True}


def test_steps_grow_with_replies_not_with_bytes():
    talk = conversation()
    before = talk.steps
    talk.receive(b"220 slo")
    assert talk.steps == before
    talk.receive(b"w\r\n")
    assert talk.steps == before + 1


def test_illegal_calls_name_state_and_event():
    talk = conversation()
    with pytest.raises(IllegalEvent, match=r"begin\(\) is not possible in state greeting"):
        talk.begin(delivery())
    with pytest.raises(IllegalEvent, match=r"quit\(\) is not possible in state greeting"):
        talk.quit()
    with pytest.raises(IllegalEvent, match=r"body_sent\(\) is not possible in state greeting"):
        talk.body_sent()
    for call in (talk.tls_done, lambda: talk.tls_failed("x")):
        with pytest.raises(IllegalEvent, match="greeting"):
            call()
    talk.lost()
    assert talk.quit() == []


@pytest.mark.parametrize("helo", ["", "a b", "a\r\nb", "ä.example"])
def test_a_name_that_no_command_may_contain_is_refused(helo):
    with pytest.raises(ValueError, match="not a name for EHLO"):
        Conversation(helo=helo, starttls=StartTls.NEVER)


def test_the_opening_used_here_is_read():
    can = opened(OPENING).capabilities
    assert can.pipelining
    assert can.size_limit == 1_000_000
