"""Coverage-guided fuzzing of one target: python -m tests.fuzz.run NAME [SECONDS] [FOLDER].

Wants atheris (pip install '.[fuzz]'). FOLDER keeps the corpus between runs; without it a temporary one is used. What
breaks the target is written to tests/fuzz/found/NAME, where the test suite replays it from then on.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["relay", "tests.fuzz.targets"]):
    from tests.fuzz.registry import HERE, NAMES, found, load

    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"{__doc__}\nNAME is one of {', '.join(NAMES)}")
    MODULE = load(sys.argv[1])


def main() -> None:
    name, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    corpus = Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp(prefix="relay-fuzz-")) / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*MODULE.SEEDS, *found(name)]):
        (corpus / f"seed{number}").write_bytes(seed)
    crashes = HERE / "found" / name
    crashes.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.CRITICAL)
    options = [f"-max_total_time={seconds}", "-max_len=8000", f"-artifact_prefix={crashes}/", "-timeout=10"]
    options += ["-rss_limit_mb=2000", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], MODULE.target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
