"""Documentation is part of the build: what people and programs touch has its entry, and what is documented
exists."""

import pathlib
import re
import subprocess
import sys

import pytest
import typer.main
from prometheus_client import Metric

from relay.cli.app import app
from relay.config.model import Config
from relay.core.events import NAMES
from relay.inbound.refusals import REFUSALS
from relay.observe.metrics import Metrics
from relay.policy.entries import PolicyFile

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = sorted((ROOT / "relay").rglob("*.py"))
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
EXTERNAL = {"process_", "python_"}  # what prometheus_client's own collectors give


def page(name):
    return (DOCS / name).read_text("utf-8")


def words(text):
    """Everything in backquotes, and the fields of tables: `name` or `name: {key}`."""
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_-]*", " ".join(re.findall(r"`+([^`]+)`+", text))))


def keys_of(model, seen=None):
    """Every key that may be written, with the model it belongs to."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model.__name__, field.alias or name
        yield from _nested(field.annotation, seen)


def _nested(annotation, seen):
    for part in [annotation, *getattr(annotation, "__args__", ())]:
        if isinstance(part, type) and hasattr(part, "model_fields"):
            yield from keys_of(part, seen)
        elif part is not annotation:
            yield from _nested(part, seen)


@pytest.mark.parametrize(("model", "key"), sorted(keys_of(Config)))
def test_every_setting_is_documented(model, key):
    assert key in words(page("configuration.md")), f"docs/configuration.md does not speak of `{key}` ({model})"


@pytest.mark.parametrize(("model", "key"), sorted(keys_of(PolicyFile)))
def test_every_policy_key_is_documented(model, key):
    assert key in words(page("policies.md")), f"docs/policies.md does not speak of `{key}` ({model})"


def test_there_are_settings_and_policy_keys():
    """The control: a walk that finds nothing would pass."""
    assert {"hostname", "bind", "networks", "certificate", "mode"} <= {key for _, key in keys_of(Config)}
    assert {"streams", "routes", "providers", "dkim", "retry"} <= {key for _, key in keys_of(PolicyFile)}


def own_metrics():
    """Name and labels of every metric the relay declares, as they are scraped."""
    collectors = vars(Metrics()).values()
    described = [one for one in collectors if hasattr(one, "describe") and hasattr(one, "_labelnames")]
    for one in described:
        family: Metric = next(iter(one.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, tuple(one._labelnames)


@pytest.mark.parametrize(("name", "labels"), sorted(own_metrics()))
def test_every_metric_is_documented_with_its_labels(name, labels):
    [row] = re.findall(rf"^\| `{name}` \|(.*)$", page("metrics.md"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row.split("|")[1])) == set(labels)


def test_documented_metrics_exist():
    known = {name for name, _ in own_metrics()}
    assert len(known) >= 16
    for path in PAGES:
        for name, star in re.findall(r"\b(relay_[a-z_]+)(\*?)", path.read_text("utf-8")):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            found = any(one.startswith(name) for one in known) if star else base in known
            assert found, f"{path.name} speaks of {name}, which does not exist"


def test_every_event_is_documented():
    listed = set(re.findall(r"^\| `(\w+)` \| ", page("events.md").partition("## Names")[2], re.MULTILINE))
    assert listed & NAMES == NAMES, f"docs/events.md lacks {NAMES - listed}"


def test_documented_events_exist():
    table = page("events.md").partition("## Names")[2].partition("## Fields of an attempt")[0]
    assert set(re.findall(r"^\| `(\w+)` \| ", table, re.MULTILINE)) == NAMES


def test_every_refusal_is_documented():
    listed = set(re.findall(r"^\| `([\w-]+)` \| \d{3} ", page("refusals.md"), re.MULTILINE))
    assert set(REFUSALS) == listed, "run again what wrote docs/refusals.md"
    intake = (ROOT / "relay" / "inbound" / "intake.py").read_text()
    said = set(re.findall(r'_refuse\(\s*submission, "([\w-]+)"', intake))
    assert {"policy", "queue"} < said <= listed


def commands(command=None, path=("relay",)):
    command = command or typer.main.get_command(app)
    nested = getattr(command, "commands", None)
    if nested is None:
        yield " ".join(path), [name for option in command.params for name in option.opts if name.startswith("--")]
        return
    for name, one in nested.items():
        yield from commands(one, (*path, name))


@pytest.mark.parametrize(("command", "options"), sorted(commands()))
def test_every_command_and_option_is_documented(command, options):
    text = page("commands.md")
    section = text.partition(f"## `{command}`\n")[2].partition("\n## ")[0]
    assert section, f"docs/commands.md has no section for {command}"
    for option in options:
        place = section if option not in ("--config",) else text
        assert f"`{option}`" in place or f"`{option} " in place, f"docs/commands.md: {command} lacks {option}"


def test_documented_commands_exist():
    known = {name for name, _ in commands()}
    assert set(re.findall(r"^## `(relay [a-z -]+)`$", page("commands.md"), re.MULTILINE)) == known


def test_every_citation_of_an_rfc_is_in_the_index():
    listed = set(re.findall(r"^\| RFC (\d+) \|", page("rfcs.md"), re.MULTILINE))
    for path in SOURCES:
        cited = set(re.findall(r"RFC (\d{3,4})\b", path.read_text("utf-8")))
        assert cited <= listed, f"{path.relative_to(ROOT)} cites RFC {cited - listed}: docs/rfcs.md does not list it"


def test_every_rfc_says_how_far():
    rows = re.findall(r"^\| RFC \d+ \|[^|]*\|([^|]*)\|([^|]*)\|$", page("rfcs.md"), re.MULTILINE)
    assert len(rows) > 60
    for verdict, note in rows:
        assert verdict.strip() in ("yes", "partial", "no", "reference")
        assert verdict.strip() != "partial" or note.strip(), "partial says what is missing"


def test_limits_name_files_and_settings_that_exist():
    settings = {key for _, key in [*keys_of(Config), *keys_of(PolicyFile)]}
    for name in re.findall(r"`((?:[a-z]+/)?[a-z_]+\.py)`", page("limits.md")):
        assert (ROOT / "relay" / name).is_file(), f"docs/limits.md speaks of {name}"
    for cell in re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|", page("limits.md"), re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            if not name.endswith(".py"):
                assert words(f"`{name}`") <= settings, f"docs/limits.md speaks of {name}"


def test_flow_names_files_that_exist():
    for name in re.findall(r"`([a-z]+/[a-z0-9_]+\.py)`", page("flow.md")):
        assert (ROOT / "relay" / name).is_file() or (ROOT / name).is_file(), f"docs/flow.md speaks of {name}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_begins_with_its_title(path):
    assert path.read_text("utf-8").startswith("# ")


def test_decisions_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in (DOCS / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_constraints_pin_every_dependency_and_name_no_index():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    project = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    wanted = set(re.findall(r'"([A-Za-z0-9._-]+)(?:[=><]{2}[^"]*)?"', project.partition("dependencies = [")[2]))
    missing = {re.sub(r"[-_.]+", "-", name).lower() for name in wanted} - pinned
    assert not missing


def test_the_makefile_lists_its_targets():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("run", "test", "coverage", "lint", "types", "bench", "faults", "schemas", "clean"):
        assert re.search(rf"^{target} +\S", done.stdout, re.MULTILINE), target


def test_python_of_the_environment_is_the_one_that_is_promised():
    assert sys.version_info >= (3, 11)
