"""relay events tail --follow: lines as they are written, over the end of a day."""

import json
import threading
import time

from relay.cli.eventfile import EventFilter, follow


def line(message):
    return json.dumps({"time": time.time(), "event": "delivered", "message": message}) + "\n"


def test_follow(tmp_path):
    first, second = tmp_path / "events-2026-02-28.jsonl", tmp_path / "events-2026-03-01.jsonl"
    first.write_text(line("before"))
    seen, enough = [], threading.Event()

    def watch():
        for row in follow(tmp_path, EventFilter(message="m*")):
            seen.append(row["message"])
            if len(seen) == 4:
                enough.set()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    time.sleep(0.1)  # it has to have looked at the end of the first file; there is no sign of that outside
    with first.open("a") as log:
        log.write(line("m1") + line("other"))
        log.flush()
        text = line("m2")
        log.write(text[:20])  # half a line waits for its other half
        log.flush()
        time.sleep(0.4)
        log.write(text[20:])
        log.flush()
    second.write_text(line("m3") + line("m4"))
    assert enough.wait(10)
    assert seen == ["m1", "m2", "m3", "m4"]


def test_follow_before_there_is_any_file(tmp_path):
    rows = follow(tmp_path, EventFilter())
    threading.Timer(0.2, lambda: (tmp_path / "events-2026-03-01.jsonl").write_text(line("m1"))).start()
    assert next(rows)["message"] == "m1"
    rows.close()
