"""Values that live outside the file: paths relative to it, and secrets by file or environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr, ValidationInfo, WithJsonSchema

from relay.config.files import Files
from relay.policy.quantities import shown

MAX_SECRET_BYTES = 65536


def resolve(value: Any, info: ValidationInfo) -> Path:
    """The path, relative ones from the folder of the file they are written in."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{shown(value)} is no path")
    return Path(os.path.normpath(folder(info) / value))


def folder(info: ValidationInfo) -> Path:
    """The folder of the file that is being read."""
    return Path((info.context or {}).get("folder", "."))


def secret(value: Any, info: ValidationInfo) -> SecretStr:
    """The secret behind `{file: PATH}` or `{env: NAME}`; its text is never shown."""
    if isinstance(value, SecretStr):
        return value
    if isinstance(value, str):
        return _filled(value, "the secret")
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= {"file", "env"}:
        raise ValueError("a secret is text, {file: PATH} or {env: NAME}")
    [(kind, name)] = value.items()
    if kind == "env":
        if not isinstance(name, str) or name not in os.environ:
            raise ValueError(f"the environment has no variable {shown(name)}; set it, or use {{file: PATH}}")
        return _filled(os.environ[name], f"the environment variable {shown(name)}")
    path = resolve(name, info)
    return _filled(read_secret(path), f"the file {path}")


def read_secret(path: Path, files: Files | None = None) -> str:
    """The text of a small file without its last line end; raises ValueError saying why not."""
    files = files or Files()
    try:
        if not files.is_file(path):
            raise ValueError(f"there is no file {path}; create it, readable by the relay alone")
        data = files.read(path, MAX_SECRET_BYTES + 1)
        if len(data) > MAX_SECRET_BYTES:
            raise ValueError(f"the file {path} is too large for a secret")
        return data.decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None


def _filled(text: str, what: str) -> SecretStr:
    if not text:
        raise ValueError(f"{what} is empty")
    return SecretStr(text)


PATH_SCHEMA = WithJsonSchema({"type": "string", "description": "a path, relative to this file's folder"})
SECRET_SCHEMA = WithJsonSchema(
    {
        "description": "a secret: text, {file: PATH} or {env: NAME}",
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"file": {"type": "string"}},
                "required": ["file"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {"env": {"type": "string"}},
                "required": ["env"],
                "additionalProperties": False,
            },
        ],
    }
)
FilePath = Annotated[Path, BeforeValidator(resolve), PATH_SCHEMA]
Secret = Annotated[SecretStr, BeforeValidator(secret), SECRET_SCHEMA]
