"""What policies/*.yaml may say: the models that check it and that the JSON Schema is made from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from relay.policy.brakes import BrakeEntry
from relay.policy.fields import (
    Count,
    Counts,
    Filled,
    Globs,
    HeaderKey,
    HeaderName,
    Hours,
    NameList,
    Networks,
    Refusal,
    ReturnPath,
    Sizes,
    Target,
    TextList,
    Wait,
)
from relay.policy.guard import GuardEntry
from relay.policy.limits import NamedLimitEntry
from relay.policy.quantities import (
    Address,
    Flag,
    HostName,
    Percent,
    Rate,
    Size,
    Text,
    Whole,
    as_list,
)
from relay.policy.quota import QuotaEntry
from relay.policy.replies import ReplyEntry
from relay.policy.requirements import Requirements
from relay.policy.validate import Entry
from relay.policy.warmup import WarmupEntry


class KeyFile(Entry):
    """Where a private key lies, from the folder of the policies."""

    file: Text


class SigningEntry(Entry):
    """One DKIM signature."""

    domain: HostName
    selector: HostName
    algorithm: Literal["rsa", "ed25519"] = "rsa"
    key: KeyFile | None = None
    required: Flag = False


class RetryEntry(Entry):
    """When to try again and when to give up."""

    after: Annotated[list[Wait], Field(min_length=1)]
    then: Wait
    expire: Wait
    jitter: Percent = 0.2


class ObjectiveEntry(Entry):
    """What share of recipients is to have the mail within what time."""

    within: Wait
    share: Target = Field(alias="for")


class StreamEntry(Entry):
    """One kind of mail."""

    pool: Text
    retry: RetryEntry
    dkim: list[SigningEntry] = Field(default_factory=list)
    return_path: ReturnPath = ""
    priority: Annotated[Whole, Field(ge=0, le=1000)] = 0
    weight: Annotated[Whole, Field(ge=1, le=1000)] = 1
    reserve: Percent = 0.0
    delay_notice: Wait | None = None
    objective: ObjectiveEntry | None = None
    eight_bit: Literal["keep", "encode"] = "keep"
    brakes: list[BrakeEntry] = Field(default_factory=list)
    guard: GuardEntry | None = None
    require: Requirements = Field(default_factory=list)
    quota: QuotaEntry | None = None
    lost_after_dot: Literal["resend", "hold"] = "resend"


class SourceEntry(Entry):
    """One place mail leaves from."""

    name: Text
    address: Address | None = None
    address6: Address | None = None
    helo: HostName | None = None
    weight: Annotated[Whole, Field(ge=1, le=1000)] = 1
    warmup: WarmupEntry | None = None


class PoolEntry(Entry):
    """The sources of a stream."""

    sources: Annotated[list[SourceEntry], Field(min_length=1)]
    limits: NameList = Field(default_factory=list)


class MatchEntry(Entry):
    """What must be true of a message; several keys must all be true."""

    all: Annotated[list[MatchEntry], Field(min_length=1)] | None = None
    any: Annotated[list[MatchEntry], Field(min_length=1)] | None = None
    none: MatchEntry | None = Field(default=None, alias="not")
    listener: Globs | None = None
    client: Networks | None = None
    credential: Globs | None = None
    sender: Globs | None = None
    recipient: Globs | None = None
    header: dict[HeaderKey, Globs] | None = None
    subject: Globs | None = None
    size: Sizes | None = None
    recipients: Counts | None = None
    hour: Hours | None = None


class HeaderEdits(Entry):
    """Header fields to take out and to put in; what is put in comes after what is taken out."""

    add: dict[HeaderName, Filled] = Field(default_factory=dict)
    remove: Annotated[list[HeaderName], BeforeValidator(as_list)] = Field(default_factory=list)


class RouteEntry(Entry):
    """A rule: when it applies and what it does."""

    name: Text
    when: MatchEntry | None = None
    stream: Text | None = None
    tag: dict[Text, Filled] = Field(default_factory=dict)
    hold: Flag = False
    refuse: Refusal | None = None
    headers: HeaderEdits = HeaderEdits()


class LimitsEntry(Entry):
    """What one source address may do to the provider."""

    connections: Count = 5
    messages_per_connection: Count = 50
    new_connections: Rate | None = None
    messages: Rate | None = None
    tls: Literal["opportunistic", "required", "never"] = "opportunistic"


class ProviderEntry(Entry):
    """Limits and reply rules for the destinations whose MX names match."""

    mx: Globs
    per_source: LimitsEntry = LimitsEntry()
    limits: NameList = Field(default_factory=list)
    replies: list[ReplyEntry] = Field(default_factory=list)


class GivenEntry(Entry):
    """A message to try the policy with."""

    listener: Text = ""
    client: Address = "127.0.0.1"
    credential: Text = ""
    sender: Text = "sender@example.com"
    recipients: TextList = Field(default_factory=lambda: ["recipient@example.org"])
    headers: dict[HeaderKey, Text] = Field(default_factory=dict)
    subject: Text = ""
    size: Size = 4096
    hour: Annotated[Whole, Field(ge=0, le=23)] = 12


class ExpectEntry(Entry):
    """What must come of it."""

    route: Text | None = None
    stream: Text | None = None
    tags: dict[Text, Text] | None = None
    refused: Flag | None = None
    held: Flag | None = None


class ExampleEntry(Entry):
    """One test of the policy."""

    name: Text
    given: GivenEntry
    expect: ExpectEntry


class PolicyFile(Entry):
    """One file of policies/; sections may be spread over files."""

    streams: dict[Text, StreamEntry] = Field(default_factory=dict)
    pools: dict[Text, PoolEntry] = Field(default_factory=dict)
    routes: list[RouteEntry] = Field(default_factory=list)
    providers: dict[Text, ProviderEntry] = Field(default_factory=dict)
    limits: dict[Text, NamedLimitEntry] = Field(default_factory=dict)
    tests: list[ExampleEntry] = Field(default_factory=list)
