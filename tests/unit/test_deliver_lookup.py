"""What a DNS answer means, told on messages as a server would write them; the network is in tests/peers."""

import asyncio

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.resolver
import pytest

from relay.deliver.lookup import MAX_ALIASES, Absent, Found, Lookup, Unknown, parse_server

SOA = "example.net. 300 IN SOA ns.example.net. host.example.net. 1 60 60 60 60"
NS = "example.net. 300 IN NS ns.elsewhere.test."


def written(name, kind, *, answer=(), authority=(), rcode="NOERROR", flags="QR RD RA"):
    """A response in dnspython's text form."""
    lines = ["id 1", "opcode QUERY", f"rcode {rcode}", f"flags {flags}", ";QUESTION", f"{name}. IN {kind}",
             ";ANSWER", *answer, ";AUTHORITY", *authority, ";ADDITIONAL"]  # fmt: skip
    return dns.message.from_text("\n".join(lines))


@pytest.fixture
def ask(monkeypatch):
    """Asks a Lookup whose server gives the written responses in turn."""

    def asked(*responses, name="example.net", kind="MX"):
        given = iter(responses)

        async def resolve(self, qname, rdtype, **options):
            assert options == {"search": False, "raise_on_no_answer": False}
            response = next(given)
            if isinstance(response, Exception):
                raise response
            if response.rcode() == dns.rcode.NXDOMAIN:
                raise dns.resolver.NXDOMAIN(qnames=[qname], responses={qname: response})
            question = response.question[0]
            return dns.resolver.Answer(question.name, question.rdtype, question.rdclass, response)

        monkeypatch.setattr(dns.asyncresolver.Resolver, "resolve", resolve)
        return asyncio.run(Lookup(["192.0.2.53"])(name, kind))

    return asked


def test_records_and_the_shortest_ttl(ask):
    answer = ["example.net. 300 IN MX 10 MX.Example.Net.", "example.net. 300 IN MX 20 ."]
    assert ask(written("example.net", "MX", answer=answer)) == Found(((10, "mx.example.net"), (20, "")), 300.0)
    chain = ["example.net. 60 IN CNAME b.test.", "b.test. 300 IN A 192.0.2.1"]
    assert ask(written("example.net", "A", answer=chain), kind="A") == Found(((0, "192.0.2.1"),), 60.0)


@pytest.mark.parametrize(
    ("authority", "flags", "answer"),
    [
        ([SOA], "QR RD RA", Absent(whole=True)),
        ([], "QR AA", Absent(whole=True)),
        ([], "QR RD RA", Unknown("NXDOMAIN without the authority for it")),
        ([NS], "QR RD RA", Unknown("NXDOMAIN without the authority for it")),
    ],
)
def test_nxdomain_counts_with_an_authority_behind_it(ask, authority, flags, answer):
    response = written("example.net", "MX", authority=authority, rcode="NXDOMAIN", flags=flags)
    assert ask(response) == answer


@pytest.mark.parametrize(
    ("authority", "flags", "answer"),
    [
        ([SOA], "QR RD RA", Absent(whole=False)),
        ([], "QR RD RA", Absent(whole=False)),
        ([NS], "QR AA", Absent(whole=False)),
        ([SOA, NS], "QR RD RA", Absent(whole=False)),
        ([NS], "QR RD", Unknown("the DNS server only refers to others")),
    ],
)
def test_an_empty_answer_counts_unless_it_is_a_referral(ask, authority, flags, answer):
    assert ask(written("example.net", "MX", authority=authority, flags=flags)) == answer


def test_a_chain_the_server_left_open_is_followed(ask):
    open_end = written("example.net", "A", answer=["example.net. 60 IN CNAME b.test."])
    end = written("b.test", "A", answer=["b.test. 60 IN A 192.0.2.1"])
    assert ask(open_end, end, kind="A") == Found(((0, "192.0.2.1"),), 60.0)


def test_an_endless_chain_is_given_up(ask):
    names = [f"n{number}.test" for number in range(MAX_ALIASES + 1)]
    chain = [written(one, "A", answer=[f"{one}. 60 IN CNAME {names[at + 1]}."]) for at, one in enumerate(names[:-1])]
    assert ask(*chain, name="n0.test", kind="A") == Unknown(f"more than {MAX_ALIASES} aliases follow n0.test")


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", ".".join(["x" * 60] * 5)])
def test_a_name_that_cannot_exist_does_not(ask, name):
    assert ask(name=name) == Absent(whole=True)


def failed(*errors):
    return dns.resolver.NoNameservers(request=dns.message.make_query("example.net", "MX"), errors=list(errors))


SERVFAIL = written("example.net", "MX", rcode="SERVFAIL")


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (failed(("Do53:192.0.2.53@53", False, 53, "SERVFAIL", SERVFAIL)), "192.0.2.53@53 answered SERVFAIL"),
        (failed(("Do53:192.0.2.53@53", False, 53, dns.exception.Timeout(), None)),
         "192.0.2.53@53 did not answer in time"),
        (failed(("Do53:192.0.2.53@53", False, 53, ConnectionRefusedError("refused"), None)),
         "192.0.2.53@53 failed: refused"),
        (dns.exception.Timeout(), "no DNS server answered in time"),
        (OSError("network is unreachable"), "network is unreachable"),
        (EOFError(), "EOFError"),
    ],
)
def test_trouble_is_told_in_words(ask, trouble, text):
    assert ask(trouble) == Unknown(text)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)), ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)), ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)), (" 192.0.2.1 ", ("192.0.2.1", 53)),
    ],
)
def test_servers_are_written_with_or_without_port(text, server):
    assert parse_server(text) == server


@pytest.mark.parametrize("text", ["", "dns.example.com", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "1.2.3"])
def test_a_wrong_server_is_an_error_that_says_how(text):
    with pytest.raises(ValueError, match=r"not a DNS server.*write"):
        Lookup([text])


def test_without_servers_the_system_is_asked(monkeypatch):
    def none(self):
        raise dns.resolver.NoResolverConfiguration

    assert Lookup()
    monkeypatch.setattr(dns.asyncresolver.Resolver, "read_resolv_conf", lambda self, file: none(self))
    assert Lookup()
