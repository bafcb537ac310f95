"""The state table, and its picture in the documentation."""

import pathlib

from relay.smtp.states import TABLE, Event, State, diagram

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "flow-smtp-client.md"


def test_every_state_is_reached_and_every_state_ends():
    reached = {State.GREETING}
    while more := {after for (state, _), after in TABLE.items() if state in reached} - reached:
        reached |= more
    assert reached == set(State)
    closing = {state for state, event in TABLE if event is Event.CLOSE}
    assert closing == set(State) - {State.CLOSED}


def test_every_event_is_used():
    assert {event for _, event in TABLE} == set(Event)


def test_the_diagram_in_the_documentation_is_current():
    assert f"```mermaid\n{diagram()}```" in DOCUMENT.read_text(), (
        "docs/flow-smtp-client.md is out of date; put the output of relay.smtp.states.diagram() there")
