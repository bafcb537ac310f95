"""One outbound connection: moves bytes between a socket and the Conversation that knows the protocol.

At every message boundary it asks its feed for the next job, and where the server pipelines, the next MAIL
leaves in the same write as the end of the previous body: one round trip a message (RFC 2920 §3.1).

A body does not leave while two deliveries before it are not yet on stable storage: one commit has a whole round trip
to be done in, and at a power cut at most one answered and one unanswered message of a connection are unrecorded.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import cast

from relay.core.content import Content, MemoryBody
from relay.core.outcome import Outcome, Phase, Trouble, judge
from relay.deliver.feed import Feed, Peer
from relay.deliver.job import Job
from relay.deliver.tasks import Tasks
from relay.queue.store import Refused
from relay.smtp.client import Conversation
from relay.smtp.happenings import Closed, Happening, Ready, Result, SendBody, WantTls
from relay.smtp.wire import stuff, stuffed

log = logging.getLogger("relay.deliver")

TLS_HANDSHAKE_S = 30.0
END = b"\r\n.\r\n"


class Connection(asyncio.Protocol):
    """Owns one socket. `opened` ends when the session can carry mail, or with the Outcome that says why not."""

    def __init__(
        self, conversation: Conversation, feed: Feed, *, peer: Peer, tls: ssl.SSLContext
    ) -> None:
        self.conversation, self.feed, self.peer = conversation, feed, peer
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Outcome | None] = self.loop.create_future()
        self.delivered = 0  # transactions that came to an end here
        self.begun = 0
        self.idle = False
        self.loading = False
        self.tls_version = ""
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._steps = -1
        self._offered: Job | None = None
        self._records: deque[asyncio.Future[Refused]] = deque(maxlen=2)  # of the last deliveries
        self._room = asyncio.Event()
        self._room.set()
        self._tasks = Tasks()
        self._unreadable: Outcome | None = None  # the body under way could not be read
        self.over = False

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._push_on()

    def data_received(self, data: bytes) -> None:
        self._happen(self.conversation.receive(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        if not self.over:
            self._happen(self.conversation.lost())
        self._end(None)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    # What the feed calls

    def offer(self, job: Job | None) -> bool:
        """A job that had to be loaded first has come, or will not; False: the connection is gone. A job that
        was taken has its result before `closed`, like every other."""
        self.loading = False
        if self.over:
            return False
        self._offered = job
        if self.conversation.can_begin:
            self._ask()
            self._push_on()
        return True

    def wake(self) -> None:
        """There may be work for this idle connection."""
        if self.idle and not self.over:
            self.idle = False
            self._ask()
            self._push_on()

    def quit(self) -> None:
        """Says goodbye after what is under way."""
        if self.idle and not self.over:
            self.idle = False
            self._happen(self.conversation.quit())

    def abort(self) -> None:
        """Drops the connection at once; what is under way is lost or deferred."""
        if self._transport is not None:
            self._transport.abort()

    # Inside

    def _happen(self, happenings: Iterable[Happening]) -> None:
        """Does what they ask for, then says what there is to say: in one write for all of them."""
        self._act(happenings)
        self._push_on()

    def _act(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            match happening:
                case SendBody(token):
                    self._send_when_recorded(cast(Job, token))
                case Result(token):
                    self.delivered += 1
                    record = self.feed.finished(self, cast(Job, token), self._as_it_was(happening))
                    if record is not None:
                        self._records.append(record)
                case Ready():
                    self._ready()
                case WantTls():
                    self._spawn(self._start_tls())
                case Closed(outcome):
                    self._push_on()
                    self._end(outcome)
                    return

    def _ready(self) -> None:
        if not self.opened.done():
            self.idle = True
            self.opened.set_result(None)
        else:
            self._ask()

    def _ask(self) -> None:
        """At a boundary with nothing under way: the next job, or idle."""
        while self.conversation.can_begin and not self.loading:
            job, self._offered = self._offered or self.feed.next_job(self), None
            if job is None:
                self.idle = not self.loading
                return
            self.begun += 1
            self.idle = False
            self._act(self.conversation.begin(job.delivery))

    def _send_when_recorded(self, job: Job) -> None:
        """Sends the body, once the delivery before the last is on stable storage."""
        if len(self._records) < 2 or self._records[0].done():
            self._send_body(job)
        else:
            self._records[0].add_done_callback(lambda _: self._send_late(job))

    def _send_late(self, job: Job) -> None:
        self._send_body(job)
        self._push_on()

    def _send_body(self, job: Job) -> None:
        if self.over or self.conversation.closed:  # the same segment, or the time since, brought the end
            return
        content = job.stored.message.content
        if isinstance(content.body, MemoryBody):
            data = stuffed(content.header + b"\r\n" + content.body.data)
            self.feed.sending(self, job)
            self._after_body(data)
        else:
            self._spawn(self._stream_body(job, content))

    async def _stream_body(self, job: Job, content: Content) -> None:
        id_ = job.stored.message.id
        try:
            for chunk in stuff(content.chunks()):
                await self._room.wait()
                if self.over:
                    return
                if len(chunk) <= len(END) and END.endswith(chunk):  # the dot, or what is as short
                    self.feed.sending(self, job)
                cast(asyncio.Transport, self._transport).write(chunk)
                self._steps = -1  # each block the connection takes starts the clock anew
                self._push_on()
        except OSError as error:
            log.error("the body of message %s cannot be read: %s", id_, error)
            self._unreadable = judge(Trouble.OURS, Phase.BODY, f"the relay cannot read the message's body: {error}")
            self.abort()  # the message was not ended with a dot, so nobody has it
            return
        self._after_body()
        self._push_on()

    def _as_it_was(self, result: Result) -> Result:
        """A session that ended because our disk failed is no fault of theirs, and no reason to try at once."""
        ours = self._unreadable
        if ours is None:
            return result
        outcomes = [ours if one.trouble is Trouble.LOST else one for one in result.outcomes]
        return replace(result, outcomes=tuple(outcomes))

    def _after_body(self, rest: bytes = b"") -> None:
        """The body is written but for `rest`: what may follow leaves together with that."""
        job, self._offered = self._offered, None
        if job is None and not self.loading:
            job = self.feed.next_job(self, behind=True)
        if job is not None:
            self.begun += 1
        self._act(self.conversation.body_sent(job.delivery if job else None, rest))

    async def _start_tls(self) -> None:
        self._stop_timer()
        if self.over:
            return  # what came in clear behind the reply ended the session
        try:
            transport = await self.loop.start_tls(
                cast(asyncio.Transport, self._transport), self, self._tls,
                server_hostname=self.peer.mx if self._tls.check_hostname else None,
                ssl_handshake_timeout=TLS_HANDSHAKE_S,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # of ssl and of the connection; a name that TLS cannot ask for
            self._tls_failed(_reason(error))
            return
        if transport is None:
            self._tls_failed("the connection ended within the handshake")
            return
        self._transport = transport
        self.tls_version = transport.get_extra_info("ssl_object").version() or "TLS"
        self._happen(self.conversation.tls_done())

    def _tls_failed(self, text: str) -> None:
        if not self.over:
            self._happen(self.conversation.tls_failed(text))

    def _push_on(self) -> None:
        """Writes what the conversation has to say and sets the clock for its phase."""
        if self.over:
            return
        conversation = self.conversation
        if (data := conversation.take_output()) and self._transport is not None:
            self._transport.write(data)
        if (steps := conversation.steps) == self._steps:
            return  # a server that sends a byte now and then gains no time
        self._steps = steps
        self._deadline = self.loop.time() + conversation.timeout_s
        if self._timer is None or self._timer.when() > self._deadline:
            self._stop_timer()
            self._timer = self.loop.call_at(self._deadline, self._time)

    def _time(self) -> None:
        """The timer is late-bound: it looks whether the deadline has moved on before it strikes."""
        self._timer = None
        if self.over:
            return
        if self.loop.time() < self._deadline - 0.001:
            self._timer = self.loop.call_at(self._deadline, self._time)
        else:
            self.idle = False
            self._happen(self.conversation.timed_out())

    def _end(self, outcome: Outcome | None) -> None:
        if self.over:
            return
        self.over, self.idle = True, False
        self._stop_timer()
        self._room.set()
        if self._transport is not None:
            self._transport.close()
        if (job := self._offered) is not None:
            self._offered = None
            untouched = replace(judge(Trouble.LOST, Phase.IDLE), untouched=True)
            self.feed.finished(self, job, Result(job, (untouched,) * len(job.waiting), False))
        if not self.opened.done():
            self.opened.set_result(outcome)
        else:
            self.feed.closed(self, outcome)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._tasks.spawn(work, f"connection to {self.peer.mx}")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    return str(error) or type(error).__name__
