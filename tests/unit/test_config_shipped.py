"""What is shipped works as it stands: quickstart, production example, policies, schemas."""


import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from relay.config.read import load_config, load_policies
from relay.config.schema import FOLDER, schema_texts, write_schemas
from relay.policy.examples import run_examples

ROOT = Path(__file__).parents[2]
POLICIES = sorted((ROOT / "policies").glob("*.yaml"))


def test_quickstart_and_its_policies():
    config, problems = load_config(ROOT / "config/quickstart.yaml")
    assert problems == []
    policy, problems = load_policies(config.policies, config, credentials=frozenset())
    assert problems == []
    assert [result for result in run_examples(policy) if not result.passed] == []
    assert {example.where.split(":")[0] for example in policy.examples} == {path.name for path in POLICIES}
    assert config.data == ROOT / "var/quickstart"
    assert config.delivery.mode == "sandbox"
    assert policy.providers[-1].name == "everyone else"


def test_production_example():
    config, problems = load_config(ROOT / "config/production.yaml")
    assert problems == []
    assert load_policies(ROOT / "policies", config)[1] == []


def test_schemas_are_those_of_the_models(tmp_path):
    for name, text in schema_texts().items():
        assert (FOLDER / name).read_text() == text, "run `python -m relay.config.schema`"
    assert sorted(path.name for path in write_schemas(tmp_path / "s")) == sorted(schema_texts())


@pytest.mark.parametrize("path", [*POLICIES, *sorted((ROOT / "config").glob("*.yaml"))], ids=lambda path: path.name)
def test_shipped_files_satisfy_the_schemas(path):
    name = "policy.json" if path in POLICIES else "config.json"
    schema = json.loads((FOLDER / name).read_text())
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(path.read_text()))) == []
    assert f"$schema=../relay/schemas/{name}" in path.read_text().splitlines()[0]


@pytest.mark.parametrize(("schema", "document"), [("config.json", "configuration.md"), ("policy.json", "policies.md")])
def test_every_key_is_documented(schema, document):
    root = json.loads((FOLDER / schema).read_text())
    models = [root, *root["$defs"].values()]
    keys = {key for model in models for key in model.get("properties", {})}
    text = (ROOT / "docs" / document).read_text()
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
