"""YAML that means ill: bombs, keys twice, links out of the folder, files of 100 MB. Small time, one clear problem."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from relay.config.read import load_config, load_policies, policy_files, read_yaml
from relay.inbound.credentials import load_credentials
from relay.policy.strict import MAX_CHARACTERS, load

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)  # the billion laughs
MERGE = "a: &a {x: 1}\n" + "".join(f"b{number}: {{<<: [*a, *a, *a, *a]}}\n" for number in range(2000))
EVIL = {
    "alias bomb": (BOMB, "alias"),
    "merge bomb": (MERGE, "merge"),
    "a key twice": ("a: 1\na: 2\n", "set twice"),
    "an alias": ("a: &x 1\nb: *x\n", "alias"),
    "an alias to itself": ("a: &a [*a]\n", "alias"),
    "a Python object": ("a: !!python/object/apply:os.system [id]\n", "tag"),
    "a tag": ("a: !secret x\n", "tag"),
    "two documents": ("a: 1\n---\nb: 2\n", "second document"),
    "a mapping as key": ("{a: 1}: 2\n", "key must be"),
    "brackets": ("[" * 100_000, "deep"),
    "braces": ("{a: " * 50_000, "deep"),
    "indents": ("".join(" " * depth + "a:\n" for depth in range(1000)), "deep"),
    "NUL": ("a: \0\n", "U+0000"),
    "a tab": ("a:\n\t- b\n", "tab"),
}


@pytest.mark.parametrize("what", list(EVIL))
def test_each_trick_is_a_problem_with_a_place(what: str) -> None:
    text, says = EVIL[what]
    before = time.process_time()
    _, problems = load(text, "policy.yaml")
    assert time.process_time() - before < 5
    assert any(says in f"{problem.message} {problem.hint}" for problem in problems), problems[:3]
    assert all(problem.line > 0 for problem in problems)
    assert len(problems) <= 100


def test_a_file_of_100_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:  # sparse: it takes no disk
        file.truncate(100 << 20)
    node, problems = read_yaml(path, "big.yaml")
    assert node is None
    assert "too large" in problems[0].message
    assert len(load("a: " + "x" * MAX_CHARACTERS, "x")[1]) == 1


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.yaml"])
def test_a_link_out_of_the_folder_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("streams: {}\n")
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").symlink_to(target)
    files, problems = policy_files(folder)
    assert files == []
    assert "leads out of the policies folder" in problems[0].message


@pytest.mark.parametrize("name", ["../../etc/x", "a/../../b", "/etc/passwd", "..", "x\0y"])
def test_a_name_with_dots_reaches_no_file(name: str, tmp_path: Path) -> None:
    """Streams and pools become names of metrics, tokens and queues; a path is none."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").write_text(f"streams: {{{name!r}: {{priority: 1}}}}\n")
    policy, problems = load_policies(folder)
    assert policy is None
    assert problems


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "missing"])
def test_what_is_no_file_is_told_and_does_not_hang(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    config, problems = load_config(path)
    assert config is None
    assert len(problems) == 1


@pytest.mark.parametrize("what", list(EVIL))
def test_the_credentials_file_takes_none_of_it(what: str, tmp_path: Path) -> None:
    path = tmp_path / "credentials.yaml"
    path.write_text(EVIL[what][0])
    before = time.process_time()
    _, problems = load_credentials(str(path))
    assert problems
    assert time.process_time() - before < 5
