"""Bounce classes out of codes and enhanced codes."""

import pytest

from relay.core.classify import CODES, ENHANCED, Kind, classify
from relay.core.reply import Reply


@pytest.mark.parametrize(("code", "enhanced", "text", "of_recipient", "kind"), [
    (550, "5.1.1", "no such user", True, Kind.INVALID_RECIPIENT),
    (550, "", "no such user", True, Kind.INVALID_RECIPIENT),
    (550, "", "your mail is not wanted", False, Kind.POLICY_RELATED),
    (550, "5.7.1", "not authorized", True, Kind.POLICY_RELATED),  # not every 5.7.1 is authentication
    (550, "5.7.26", "unauthenticated", False, Kind.AUTHENTICATION_FAILED),
    (552, "5.3.4", "too big", False, Kind.MESSAGE_TOO_LARGE),  # 552 5.3.4 is size
    (552, "5.2.2", "over quota", True, Kind.QUOTA_ISSUES),
    (550, "5.2.2", "mailbox full", True, Kind.QUOTA_ISSUES),
    (552, "", "full", True, Kind.QUOTA_ISSUES),
    (552, "", "too big", False, Kind.MESSAGE_TOO_LARGE),
    (452, "4.2.2", "over quota", True, Kind.QUOTA_ISSUES),
    (550, "5.2.1", "disabled", True, Kind.INACTIVE_MAILBOX),
    (556, "5.1.10", "null MX", True, Kind.BAD_DOMAIN),
    (550, "5.0.0", "no", True, Kind.INVALID_RECIPIENT),  # "other": the code knows more
    (550, "5.1.0", "no", True, Kind.INVALID_RECIPIENT),
    (550, "5.7.999", "unheard of", False, Kind.POLICY_RELATED),
    (421, "4.7.28", "flood", False, Kind.RATE_LIMITED),
    (421, "", "too many connections", False, Kind.RATE_LIMITED),
    (451, "4.7.1", "Greylisted, come back later", True, Kind.GREYLISTED),
    (450, "", "recipient is GRAYLISTED", True, Kind.GREYLISTED),
    (450, "", "Grey-listing in effect", True, Kind.GREYLISTED),
    (550, "5.1.1", "no greylisted user", True, Kind.INVALID_RECIPIENT),
    (451, "", "local error", True, Kind.UNCATEGORIZED),
    (554, "", "transaction failed", False, Kind.UNCATEGORIZED),
])
def test_a_reply_and_its_class(code, enhanced, text, of_recipient, kind):
    assert classify(Reply(code, enhanced, (text,)), of_recipient=of_recipient) is kind


def test_the_tables_are_written_in_codes():
    assert all(400 <= code < 600 for code in CODES)
    assert all(subject in "1234567" and 1 <= int(detail) <= 30
               for subject, detail in (key.split(".") for key in ENHANCED))


def test_a_class_is_its_name():
    assert f"{Kind.QUOTA_ISSUES}" == "QuotaIssues" == Kind.QUOTA_ISSUES
