"""The architecture, as a test: layers point down, the core does no I/O, files and functions stay small."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2] / "relay"
LAYERS = [  # highest first; names on one line may not import each other
    {"__main__"},
    {"cli"},
    {"service"},
    {"config"},
    {"inbound", "deliver", "web"},
    {"prepare", "queue"},
    {"observe"},
    {"policy", "smtp"},
    {"core"},
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}
PURE = {"core", "policy", "smtp"}
IMPURE = {
    *("asyncio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing", "concurrent", "subprocess"),
    *("time", "random", "secrets", "os", "shutil", "tempfile", "logging", "io", "sqlite3", "uvloop"),
    *("aiosmtpd", "aiosqlite", "aiohttp", "dns", "prometheus_client"),
}
IMPURE_CALLS = {"open", "input", "print", "exec", "eval"}
FOREIGN_HELPERS = {
    "manager",
    "helper",
    "helpers",
    "utils",
    "util",
    "base",
    "common",
    "misc",
}  # STYLE: name the noun
MAX_MODULE, MAX_FUNCTION, MAX_POSITIONAL = 300, 50, 5
MODULES = sorted(ROOT.rglob("*.py"))


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree, *, typing_only=True):
    """Names of imported modules; those under `if TYPE_CHECKING:` count too, as a layer that knows a type
    of the layer above knows the layer."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "use absolute imports"
            # `from relay import x` imports relay.x; anything else imports the named module
            yield from ([f"relay.{a.name}" for a in node.names] if node.module == "relay" else [node.module])


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text("utf-8")) for path in MODULES}


each_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))


def test_there_are_modules():
    assert len(MODULES) > 50


@each_module
def test_says_what_it_is_for(path, trees):
    assert ast.get_docstring(trees[path]), "a module docstring says what it is for"


@each_module
def test_is_named_after_a_noun_of_the_trade(path):
    assert path.stem not in FOREIGN_HELPERS


@each_module
def test_is_small(path, trees):
    assert path.read_text("utf-8").count("\n") <= MAX_MODULE
    long = [f.name for f in functions(trees[path]) if f.end_lineno - f.lineno >= MAX_FUNCTION]
    assert not long


@each_module
def test_imports_point_down(path, trees):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in RANK, f"{part} has no place in the layers"
    for name in imports(trees[path]):
        head, _, rest = name.partition(".")
        if head != "relay" or not rest:
            continue
        other = rest.split(".")[0]
        if other in RANK:  # relay.__version__ is no part
            assert other == part or RANK[other] > RANK[part], f"{part} may not import {other}"


@each_module
def test_what_is_pure_does_nothing(path, trees):
    if part_of(path) not in PURE:
        return
    for name in imports(trees[path]):
        assert name.partition(".")[0] not in IMPURE, f"{path.name} is pure; {name} is not"
    for node in ast.walk(trees[path]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{path.name}:{node.lineno} is pure; {node.func.id}() is not"


@each_module
def test_catches_everything_only_at_the_root_of_a_task(path, trees):
    for node in ast.walk(trees[path]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path.name}:{node.lineno}: a bare except hides faults"


@each_module
def test_values_are_frozen_or_at_least_slotted(path, trees):
    for node in ast.walk(trees[path]):
        if not isinstance(node, ast.ClassDef):
            continue
        for mark in node.decorator_list:
            name = mark.func if isinstance(mark, ast.Call) else mark
            if isinstance(name, ast.Name) and name.id == "dataclass":
                given = {keyword.arg for keyword in mark.keywords} if isinstance(mark, ast.Call) else set()
                assert "slots" in given, f"{path.name}: {node.name} is a dataclass without slots"


@each_module
def test_no_switches_by_position(path, trees):
    """No boolean positionals: f(x, True) says nothing. Commands are called by typer, by name."""
    if part_of(path) == "cli":
        return
    for function in functions(trees[path]):
        arguments = function.args.args
        assert len(arguments) <= MAX_POSITIONAL + 1, f"{function.name} takes too many by position"
        for argument in arguments:
            note = argument.annotation
            assert not (isinstance(note, ast.Name) and note.id == "bool"), f"{function.name}({argument.arg})"


def test_the_long_running_process_does_not_carry_the_terminal(trees):
    """`relay serve` stays in memory for months: typer and rich are imported by commands alone."""
    light = [ROOT / "__main__.py", *(ROOT / "cli" / f"{name}.py" for name in ("serve", "place", "failure"))]
    for path in [p for p in MODULES if part_of(p) != "cli"] + light:
        heads = {name.partition(".")[0] for name in imports(trees[path])}
        assert not heads & {"typer", "rich", "click"}, f"{path.name} loads the terminal's libraries"


@each_module
def test_no_possessive_repeat_of_a_group(path, trees):
    """Python 3.11 before .5, as in Debian 12, matches `(...)*+` wrongly; `(?>(...)*)` is the same everywhere."""
    texts = [node.value for node in ast.walk(trees[path]) if isinstance(node, ast.Constant)]
    patterns = [text.decode("latin-1") if isinstance(text, bytes) else text for text in texts]
    for text in patterns:
        if isinstance(text, str):
            assert not re.search(r"\)(?:[*+?]|\{[0-9,]+\})\+", text), text
