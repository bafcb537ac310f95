"""What a start makes of the last reading of the clock."""

import pytest

from relay.core.clock import GAP_S, Taken, taken_up

T0, DAY = 1_790_000_000.0, 86_400.0


@pytest.mark.parametrize(
    ("wall", "line", "now", "taken"),
    [
        (T0, T0, T0 + 10, Taken()),
        (T0, T0, T0 + GAP_S, Taken()),
        (T0, T0, T0 + GAP_S + 1, Taken(0.0, doubtful=True)),
        (T0, T0 + 0.4, T0 + 10, Taken()),  # an NTP client at work
        (T0 + DAY, T0, T0 + DAY + 10, Taken(DAY)),  # it was set forward while the process ran, and stays so
        (T0 - DAY, T0, T0 - DAY + 10, Taken(-DAY)),
        (T0, T0, T0 - DAY, Taken(-DAY)),  # it was set back while no process ran
        (T0 + DAY, T0, T0, Taken()),  # forward while it ran, and back while none did
        (T0 + DAY, T0, T0 + 2 * DAY, Taken(DAY, doubtful=True)),
        (T0, T0, T0 - 59.0, Taken()),
    ],
)
def test_times_follow_what_is_known(wall, line, now, taken):
    assert taken_up(wall=wall, line=line, now=now) == taken
