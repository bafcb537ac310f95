"""What makes message ids impossible to guess: never the same twice, in no two processes."""

import os

from relay.inbound.entropy import ID_BYTES, READ_IDS, id_entropy


def test_no_two_are_alike_over_several_reads():
    drawn = [id_entropy() for _ in range(3 * READ_IDS)]
    assert len(set(drawn)) == len(drawn)
    assert {len(one) for one in drawn} == {ID_BYTES}


def test_a_child_draws_its_own():
    id_entropy()  # something is left over
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"".join(id_entropy() for _ in range(READ_IDS)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, ID_BYTES * READ_IDS)
    os.close(reading)
    os.close(writing)
    drawn = {theirs[at : at + ID_BYTES] for at in range(0, len(theirs), ID_BYTES)}
    assert len(drawn) == READ_IDS
    assert not drawn & {id_entropy() for _ in range(READ_IDS)}
