"""What makes message ids impossible to guess: never the same twice, in no two processes."""

import subprocess
import sys

from relay.inbound.entropy import ID_BYTES, READ_IDS, id_entropy

FORKED = """
import os
from relay.inbound.entropy import id_entropy
id_entropy()  # more of the same read is left over
if child := os.fork():
    os.waitpid(child, 0)
print(*[id_entropy().hex() for _ in range(300)], flush=True)
"""


def test_no_two_are_alike_over_several_reads():
    drawn = [id_entropy() for _ in range(3 * READ_IDS)]
    assert len(set(drawn)) == len(drawn)
    assert {len(one) for one in drawn} == {ID_BYTES}


def test_a_child_draws_its_own():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    one, other = (set(line.split()) for line in done.stdout.splitlines())
    assert len(one) == len(other) == 300
    assert not one & other
