"""Files to config and policies: every problem of every file in one go, nothing kept between calls."""

from __future__ import annotations

from pathlib import Path

from relay.config.crosscheck import check_config
from relay.config.files import Files
from relay.config.model import Config
from relay.policy.build import build_policy
from relay.policy.model import Policy
from relay.policy.strict import MAX_CHARACTERS, Node, Problem, load
from relay.policy.validate import nearest, validate

MAX_FILES = 200


def load_config(path: Path | str, files: Files | None = None) -> tuple[Config | None, list[Problem]]:
    """The settings of the file, or None and all that is wrong with it. Relative paths in it are taken from
    its folder."""
    path = Path(path)
    node, problems = read_yaml(path, str(path), files)
    if node is None:
        return None, problems or [Problem(str(path), 1, 1, "the file is empty", "see config/quickstart.yaml")]
    config, mistakes = validate(Config, node, str(path), context={"folder": path.parent})
    if config is None:
        return None, sorted(problems + mistakes)
    config._file, config._node = str(path), node
    problems = sorted(problems + check_config(config))
    return (None if problems else config), problems


def load_policies(
    folder: Path | str, config: Config | None = None, *, credentials: frozenset[str] | None = None,
    files: Files | None = None,
) -> tuple[Policy | None, list[Problem]]:  # fmt: skip
    """The policy of all *.yaml files of the folder, or None and all that is wrong with them. With `config`
    (and the names of `credentials`) rules that name what does not exist are found too."""
    folder = Path(folder)
    paths, problems = policy_files(folder, files)
    trees: dict[str, Node] = {}
    for path in paths:
        node, mistakes = read_yaml(path, path.name, files)
        problems += mistakes
        if node:
            trees[path.name] = node
    listeners = frozenset(config.listeners) if config else None
    policy, mistakes = build_policy(
        trees, folder=str(folder), listeners=listeners, credentials=credentials, partial=bool(problems)
    )
    problems += mistakes
    if policy and config:
        problems += _unknown_streams(config, policy)
    return (None if problems else policy), sorted(problems)


def policy_files(folder: Path, files: Files | None = None) -> tuple[list[Path], list[Problem]]:
    """The policy files of a folder in the order of their names. A link that leads out of the folder is
    refused: what is read must be what an operator put there."""
    files = files or Files()
    try:
        names = sorted(path for path in files.names(folder) if path.suffix in (".yaml", ".yml"))
        outside = [path for path in names if not files.inside(path, folder)]
    except OSError as error:
        return [], [
            Problem(str(folder), 0, 0, f"the folder cannot be read: {error.strerror}", "see `policies:`")
        ]
    problems = [
        Problem(path.name, 0, 0, "leads out of the policies folder", "copy the file into the folder")
        for path in outside
    ]
    if not names:
        problems.append(
            Problem(str(folder), 0, 0, "there are no *.yaml files", "start from policies/ as shipped")
        )
    if len(names) > MAX_FILES:
        problems.append(Problem(str(folder), 0, 0, f"more than {MAX_FILES} files", "join some of them"))
    return [] if problems else names, problems


def read_yaml(path: Path, name: str, files: Files | None = None) -> tuple[Node | None, list[Problem]]:
    """The tree of a file (None when empty) and what is wrong with it; `name` is what problems call it."""
    files = files or Files()
    try:
        if not files.is_file(path):
            return None, [Problem(name, 0, 0, "there is no such file", f"looked at {path.absolute()}")]
        data = files.read(path, 4 * MAX_CHARACTERS + 1)
        return load(data.decode(), name)
    except OSError as error:
        return None, [Problem(name, 0, 0, f"cannot be read: {error.strerror}", "check its permissions")]
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        return None, [Problem(name, line, column, "not UTF-8 text", "save the file as UTF-8")]


def _unknown_streams(config: Config, policy: Policy) -> list[Problem]:
    """Streams that listeners name and no policy has."""
    problems = []
    for name, listener in config.listeners.items():
        wanted: list[tuple[str, tuple[str | int, ...]]] = [
            (stream, ("streams", number)) for number, stream in enumerate(listener.streams)
        ]
        if listener.stream:
            wanted.append((listener.stream, ("stream",)))
        for stream, path in wanted:
            if stream not in policy.streams:
                where = config.place("listeners", name, *path)
                hint = nearest(stream, list(policy.streams))
                problems.append(Problem(*where, f"there is no stream `{stream}`", hint))
    return problems
