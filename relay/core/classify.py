"""What kind of trouble a reply speaks of: a bounce class from code and enhanced code, by the standards alone.

The enhanced code (RFC 3463 and the registry RFC 5248 opened) is more exact than the code, so it is asked
first; where it says nothing ("other", detail 0) the code is (RFC 5321 §4.2.3). Words of single providers
belong into policy files, never here. The class never changes a verdict: the first digit does that.
"""

from __future__ import annotations

from enum import StrEnum

from relay.core.reply import Reply


class Kind(StrEnum):
    """The bounce classes. A deferred recipient has one too: it says what the waiting is about."""

    INVALID_RECIPIENT = "InvalidRecipient"
    BAD_DOMAIN = "BadDomain"
    INACTIVE_MAILBOX = "InactiveMailbox"
    QUOTA_ISSUES = "QuotaIssues"
    MESSAGE_TOO_LARGE = "MessageTooLarge"
    PROTOCOL_ERRORS = "ProtocolErrors"
    SPAM_BLOCK = "SpamBlock"
    SPAM_CONTENT = "SpamContent"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    RATE_LIMITED = "RateLimited"
    GREYLISTED = "Greylisted"
    CONNECTION_TLS = "ConnectionTLS"
    DNS_FAILURE = "DNSFailure"
    MESSAGE_EXPIRED = "MessageExpired"
    POLICY_RELATED = "PolicyRelated"
    AUTO_REPLY = "AutoReply"
    TOO_MANY_RECIPIENTS = "TooManyRecipients"
    UNCATEGORIZED = "Uncategorized"


# subject.detail of the enhanced code; the class digit is the verdict's affair
ENHANCED: dict[str, Kind] = {
    # X.1 addressing (RFC 3463 §3.2)
    "1.1": Kind.INVALID_RECIPIENT,
    "1.2": Kind.BAD_DOMAIN,
    "1.3": Kind.INVALID_RECIPIENT,
    "1.4": Kind.INVALID_RECIPIENT,
    "1.6": Kind.INACTIVE_MAILBOX,  # moved, no forwarding address
    "1.7": Kind.PROTOCOL_ERRORS,  # syntax of the sender's address
    "1.8": Kind.POLICY_RELATED,  # the sender's domain cannot be answered
    "1.9": Kind.PROTOCOL_ERRORS,
    "1.10": Kind.BAD_DOMAIN,  # null MX (RFC 7505 §4.1)
    # X.2 mailbox (RFC 3463 §3.3)
    "2.1": Kind.INACTIVE_MAILBOX,
    "2.2": Kind.QUOTA_ISSUES,
    "2.3": Kind.MESSAGE_TOO_LARGE,
    # X.3 mail system (RFC 3463 §3.4)
    "3.2": Kind.RATE_LIMITED,  # "excessive load"
    "3.3": Kind.PROTOCOL_ERRORS,
    "3.4": Kind.MESSAGE_TOO_LARGE,
    # X.4 network and routing (RFC 3463 §3.5)
    "4.1": Kind.CONNECTION_TLS,
    "4.2": Kind.CONNECTION_TLS,
    "4.3": Kind.DNS_FAILURE,
    "4.4": Kind.DNS_FAILURE,
    "4.5": Kind.RATE_LIMITED,  # congestion
    "4.6": Kind.PROTOCOL_ERRORS,  # routing loop
    "4.7": Kind.MESSAGE_EXPIRED,
    # X.5 protocol (RFC 3463 §3.6)
    "5.1": Kind.PROTOCOL_ERRORS,
    "5.2": Kind.PROTOCOL_ERRORS,
    "5.3": Kind.RATE_LIMITED,  # too many recipients
    "5.4": Kind.PROTOCOL_ERRORS,
    "5.5": Kind.PROTOCOL_ERRORS,
    "5.6": Kind.MESSAGE_TOO_LARGE,  # AUTH exchange line too long (RFC 4954 §6)
    # X.6 content (RFC 3463 §3.7, RFC 6531 §3.5)
    "6.1": Kind.PROTOCOL_ERRORS,
    "6.2": Kind.PROTOCOL_ERRORS,
    "6.3": Kind.PROTOCOL_ERRORS,
    "6.4": Kind.PROTOCOL_ERRORS,
    "6.5": Kind.PROTOCOL_ERRORS,
    "6.6": Kind.PROTOCOL_ERRORS,
    "6.7": Kind.PROTOCOL_ERRORS,
    "6.8": Kind.PROTOCOL_ERRORS,
    "6.9": Kind.PROTOCOL_ERRORS,
    "6.10": Kind.PROTOCOL_ERRORS,
    # X.7 security and policy (RFC 3463 §3.8); 7.1 is "not authorized", which is not authentication
    "7.1": Kind.POLICY_RELATED,
    "7.2": Kind.POLICY_RELATED,
    "7.3": Kind.POLICY_RELATED,
    "7.4": Kind.CONNECTION_TLS,
    "7.5": Kind.CONNECTION_TLS,
    "7.6": Kind.CONNECTION_TLS,
    "7.7": Kind.POLICY_RELATED,
    "7.8": Kind.POLICY_RELATED,  # our login, not our signature (RFC 4954 §6)
    "7.9": Kind.POLICY_RELATED,
    "7.10": Kind.CONNECTION_TLS,
    "7.11": Kind.CONNECTION_TLS,
    "7.12": Kind.POLICY_RELATED,
    "7.13": Kind.POLICY_RELATED,
    "7.14": Kind.POLICY_RELATED,
    "7.15": Kind.POLICY_RELATED,  # priority too low (RFC 6710 §9)
    "7.16": Kind.MESSAGE_TOO_LARGE,
    "7.17": Kind.INVALID_RECIPIENT,  # the mailbox has another owner now (RFC 7293 §14)
    "7.18": Kind.BAD_DOMAIN,
    "7.19": Kind.POLICY_RELATED,
    "7.20": Kind.AUTHENTICATION_FAILED,  # DKIM, SPF, reverse DNS (RFC 7372 §3)
    "7.21": Kind.AUTHENTICATION_FAILED,
    "7.22": Kind.AUTHENTICATION_FAILED,
    "7.23": Kind.AUTHENTICATION_FAILED,
    "7.24": Kind.AUTHENTICATION_FAILED,
    "7.25": Kind.AUTHENTICATION_FAILED,
    "7.26": Kind.AUTHENTICATION_FAILED,
    "7.27": Kind.POLICY_RELATED,  # the sender's domain has a null MX (RFC 7505 §4.2)
    "7.28": Kind.RATE_LIMITED,  # mail flood detected
    "7.29": Kind.AUTHENTICATION_FAILED,  # ARC (RFC 8617 §9)
    "7.30": Kind.CONNECTION_TLS,  # REQUIRETLS (RFC 8689 §4.2)
}

# replies without a telling enhanced code: (said of a recipient, said of anything else), RFC 5321 §4.2.3
CODES: dict[int, tuple[Kind, Kind]] = {
    421: (Kind.RATE_LIMITED, Kind.RATE_LIMITED),
    454: (Kind.CONNECTION_TLS, Kind.CONNECTION_TLS),  # RFC 3207 §4
    455: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    500: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    501: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    502: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    503: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    504: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    521: (Kind.BAD_DOMAIN, Kind.BAD_DOMAIN),  # the host takes no mail at all (RFC 7504 §2)
    530: (Kind.POLICY_RELATED, Kind.POLICY_RELATED),
    534: (Kind.POLICY_RELATED, Kind.POLICY_RELATED),
    535: (Kind.POLICY_RELATED, Kind.POLICY_RELATED),
    538: (Kind.CONNECTION_TLS, Kind.CONNECTION_TLS),
    550: (Kind.INVALID_RECIPIENT, Kind.POLICY_RELATED),
    551: (Kind.INVALID_RECIPIENT, Kind.INVALID_RECIPIENT),
    552: (Kind.QUOTA_ISSUES, Kind.MESSAGE_TOO_LARGE),  # storage of a mailbox, or RFC 1870 §6.1
    553: (Kind.INVALID_RECIPIENT, Kind.POLICY_RELATED),
    555: (Kind.PROTOCOL_ERRORS, Kind.PROTOCOL_ERRORS),
    556: (Kind.BAD_DOMAIN, Kind.BAD_DOMAIN),  # RFC 7504 §4, RFC 7505 §4.1
}
OF_MAIL = frozenset({
    Kind.INVALID_RECIPIENT, Kind.BAD_DOMAIN, Kind.INACTIVE_MAILBOX, Kind.QUOTA_ISSUES, Kind.MESSAGE_TOO_LARGE,
})  # fmt: skip
_UNKNOWN = (Kind.UNCATEGORIZED, Kind.UNCATEGORIZED)


def classify(reply: Reply, *, of_recipient: bool) -> Kind:
    """The bounce class of a 4xx or 5xx reply; `of_recipient`: it answered RCPT. UNCATEGORIZED when the
    standards do not say. Source: RFC 3463, RFC 5248's registry, RFC 5321 §4.2.3, RFC 6647 for greylisting."""
    if reply.severity == 4 and _greylisting(reply):
        return Kind.GREYLISTED
    kind = ENHANCED.get(reply.enhanced[2:])
    if kind is not None:
        return kind
    of, other = CODES.get(reply.code, _UNKNOWN)
    return of if of_recipient else other


def blames_mail(reply: Reply) -> bool:
    """Whether the enhanced code puts a refusal down to the recipient's address or mailbox, or to the size of the
    message, so that it would be the same from any source (RFC 3463 §3.2, §3.3). X.7.1 does not: it is said of hosts
    and of recipients alike (§3.8)."""
    return ENHANCED.get(reply.enhanced[2:]) in OF_MAIL


def _greylisting(reply: Reply) -> bool:
    """RFC 6647 gives the practice its name but no code of its own: the word is all there is."""
    text = reply.text.lower()
    return "greylist" in text or "graylist" in text or "grey-list" in text
