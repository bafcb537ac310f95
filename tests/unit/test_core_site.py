"""A site is named by its MX names alone."""

from itertools import combinations

import pytest

from relay.core.site import MAX_CHARS, site_name


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        ([], ""),
        (["MX.Example.com."], "mx.example.com"),
        (["mx.example.com", "mx.example.com."], "mx.example.com"),
        (
            ["aspmx.l.google.com", "alt1.aspmx.l.google.com", "alt2.aspmx.l.google.com"],
            "(alt1.aspmx|alt2.aspmx|aspmx).l.google.com",
        ),
        (["mta6.am0.yahoodns.net", "mta5.am0.yahoodns.net"], "(mta5|mta6).am0.yahoodns.net"),
        (["mx.a.example", "mx.b.test"], "(mx.a.example|mx.b.test)"),
        (["example.com", "mx.example.com"], "(example|mx.example).com"),
        (["com", "mx.com"], "(com|mx.com)"),
    ],
)
def test_the_name_of_a_site(hosts, name):
    assert site_name(hosts) == name


def test_order_and_case_do_not_matter():
    assert site_name(["b.x.test", "A.x.test"]) == site_name(["a.x.test.", "B.X.test"])


def test_different_sets_have_different_names():
    names = ["a.x", "a.y", "b.x", "b.y", "x", "c.a.x"]
    sets = [pair for size in range(1, 5) for pair in combinations(names, size)]
    assert len({site_name(one) for one in sets}) == len(sets)


def test_a_thousand_hosts_still_make_a_short_name():
    hosts = [f"mx{n}.mail.example.net" for n in range(1000)]
    assert len(site_name(hosts)) <= MAX_CHARS
    assert site_name(hosts) != site_name(hosts[1:])
