"""Who may have file descriptors; that deliveries always find one is shown in tests/faults."""

import errno
import sys
from types import SimpleNamespace

import pytest

from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.refusals import Refused
from relay.inbound.settings import ListenerSettings
from relay.queue.spool import Spool
from relay.service import descriptors as module


@pytest.mark.parametrize(
    ("limits", "deliveries", "shares"),
    [
        ((1024, 65536), 200, (48816, 65088)),
        ((1024, 1024), 200, (432, 576)),
        ((256, 256), 200, (96, 128)),
    ],
)
def test_deliveries_have_their_share_and_the_limit_is_raised(monkeypatch, limits, deliveries, shares):
    had = [limits]
    fake = SimpleNamespace(
        RLIMIT_NOFILE=7, getrlimit=lambda _: had[-1], setrlimit=lambda _, pair: had.append(pair)
    )  # fmt: skip
    monkeypatch.setattr(module, "resource", fake)
    assert module.descriptors_for_clients(deliveries) == shares
    assert had[-1] == (limits[1], limits[1])


def test_a_client_with_a_descriptor_that_is_not_for_clients_is_sent_away():
    reception = Reception(ListenerSettings("a", "h"), None, None, budget=MemoryBudget(1), descriptors=20)
    reception.enter(object(), "10.0.0.1", 19)
    with pytest.raises(Refused) as refused:
        reception.enter(object(), "10.0.0.1", 20)
    assert refused.value.reason == "too-many-connections"


def test_a_body_comes_in_only_while_there_are_descriptors_for_it(tmp_path):
    spool = Spool(tmp_path)
    spool.descriptors = 0
    with pytest.raises(OSError, match=r".*") as error:
        spool.writer()
    assert error.value.errno == errno.EMFILE
    assert list(spool.incoming.iterdir()) == []
    spool.descriptors = sys.maxsize
    spool.writer().abandon()
