"""What a shard says of itself, in a file beside its records: merging reads nothing else, and believes only hashes."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from data_gen.shards import Shard

PATTERN = "shard-*.json"


@dataclasses.dataclass(frozen=True)
class File:
    """The records of one split: how many, their bytes without what the file adds, and the file's size and hash."""

    split: str
    examples: int
    example_bytes: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A finished shard.

    Attributes:
      shard: which.
      config: name of the configuration.
      identities: how many there are in all shards.
      settings: all that shapes an example: the generator's settings, version and code, and the face files.
      files: by name.
    """

    shard: Shard
    config: str
    identities: int
    settings: dict[str, Any]
    files: dict[str, File]

    @property
    def name(self) -> str:
        """Of the file that it is in."""
        return PATTERN.replace("*", f"{self.shard.index:05d}-of-{self.shard.count:05d}")

    @property
    def described(self) -> dict[str, Any]:
        """What must be the same in all shards."""
        return {"shards": self.shard.count, "config": self.config, "identities": self.identities} | self.settings

    def json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    def damage(self, folder: Path) -> list[str]:
        """What is wrong with its files in `folder`, by name; reads all of them."""
        found = []
        for name, file in self.files.items():
            path = folder / name
            if not path.exists():
                found.append(f"{name} is missing")
            elif path.stat().st_size != file.size:
                found.append(f"{name} has {path.stat().st_size} bytes instead of {file.size}")
            elif sha256(path) != file.sha256:
                found.append(f"{name} is damaged (its SHA-256 is not the one it was written with)")
        return found


def read(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
      ValueError: if it is none, or another shard's.
    """
    try:
        told = json.loads(path.read_text())
        files = {name: File(**file) for name, file in told.pop("files").items()}
        manifest = Manifest(shard=Shard(**told.pop("shard")), files=files, **told)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it, and make that shard again.") from error
    if manifest.name != path.name:
        raise ValueError(f"{path} is of shard {manifest.shard}, whose file is called {manifest.name}. Remove it.")
    return manifest


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
