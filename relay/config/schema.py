"""JSON Schemas made from the models, so that editors complete and check what the relay will."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from relay.config.model import Config
from relay.policy.entries import PolicyFile

FOLDER = Path(__file__).parent.parent / "schemas"
MODELS: dict[str, tuple[type[BaseModel], str]] = {
    "config.json": (Config, "smtp-relay: config/relay.yaml"),
    "policy.json": (PolicyFile, "smtp-relay: policies/*.yaml"),
}


def schema_texts() -> dict[str, str]:
    """File name → text of every schema, as it is shipped."""
    return {name: _text(model, title) for name, (model, title) in MODELS.items()}


def write_schemas(folder: Path = FOLDER) -> list[Path]:
    """Writes the schemas; returns the files. `python -m relay.config.schema` does so."""
    folder.mkdir(exist_ok=True)
    for name, text in schema_texts().items():
        (folder / name).write_text(text)
    return [folder / name for name in MODELS]


def _text(model: type[BaseModel], title: str) -> str:
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(by_alias=True, mode="validation"),
        "title": title,
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_schemas()
