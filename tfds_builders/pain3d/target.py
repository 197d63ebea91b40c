"""A configuration, and where its data set is made: what a shard must know, without TFDS."""

import dataclasses
import os
from pathlib import Path
from typing import Self

from data_gen.generator_config import GeneratorConfig
from data_gen.record import GENERATOR_VERSION
from data_gen.variants import VARIANTS


@dataclasses.dataclass(frozen=True)
class Target:
    """The configuration `name` of `identities` people, in `data_dir`, where TFDS looks for data sets."""

    name: str
    identities: int
    generator: GeneratorConfig
    data_dir: Path

    @classmethod
    def named(cls, name: str, data_dir: str | None = None) -> Self:
        """One of `VARIANTS`; without `data_dir` in the folder that TFDS takes.

        Raises:
          ValueError: if `data_dir` is no folder but a bucket.
        """
        data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        if "://" in data_dir:
            raise ValueError(
                f"Shards are made and merged in a folder, and {data_dir} is none. Name one with --data_dir, and copy "
                "the data set when it is merged."
            )
        return cls(name, VARIANTS[name].identities, VARIANTS[name].generator, Path(data_dir).expanduser())

    @classmethod
    def of(cls, builder) -> Self:
        """That of a builder of TFDS."""
        config = builder.builder_config
        return cls(config.name, config.identities, config.generator, Path(builder.data_dir).parents[2])

    @property
    def parent(self) -> Path:
        """The folder of the configuration, of whatever version."""
        return self.data_dir / "pain3d" / self.name

    @property
    def built(self) -> Path:
        """The folder of the finished data set."""
        return self.parent / GENERATOR_VERSION

    @property
    def shards(self) -> Path:
        """Where shards lie until they are merged."""
        return self.parent / "shards"
