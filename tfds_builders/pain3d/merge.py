"""Shards that several machines wrote -> one data set: `painjax generate --merge`.

The records stay in their files, and what TFDS wants to know of them is written beside. The folder of the shards becomes
that of the version in one renaming, so that a data set is there whole or not at all. Its order: shard by shard, in each
as TFDS shuffles, by a hash of the key. With one shard that is the order of `tfds build`.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_gen import finished
from data_gen.record import GENERATOR_VERSION
from data_gen.scene import SPLITS
from tfds_builders.pain3d import painting_report, shard_manifest
from tfds_builders.pain3d.pain3d_dataset_builder import Builder
from tfds_builders.pain3d.shard_manifest import Manifest
from tfds_builders.pain3d.target import Target

_OF_THE_MACHINE = ("files", "code", "diffusion")  # which need not be where the shards are merged


def merge(builder: Builder) -> Path:
    """Makes a data set of the shards of its configuration; its folder.

    Raises:
      ValueError: if the shards are not all of one data set, or not all there, or damaged; the message names them.
      FileExistsError: if the data set is there.
    """
    folder, target = Target.of(builder).shards, Path(builder.data_dir)
    if target.exists():
        raise FileExistsError(f"{target} is there. Remove it to merge shards into it.")
    shards = _checked(builder, folder)
    for left in folder.glob(".*"):  # of processes that were killed
        shutil.rmtree(left, ignore_errors=True)
    builder.info.set_splits(tfds.core.splits.SplitDict([_split(name, shards) for name in SPLITS if _has(name, shards)]))
    builder.info.write_to_directory(folder)
    if len(shards) > 1:  # whose order is another than that of one shard, or of another number
        tfds.core.MetadataDict(shards=len(shards)).save_metadata(folder)
    default = target.parent.parent / ".config" / "metadata.json"  # where TFDS looks for it
    default.parent.mkdir(exist_ok=True)
    default.write_text(json.dumps({"default_config_name": builder.DEFAULT_BUILDER_CONFIG_NAME}))
    if builder.builder_config.generator.diffusion is not None:
        painting_report.write(folder)
    os.replace(folder, target)
    finished.remove_all(target.parent)
    return target


def _checked(builder: Builder, folder: Path) -> list[Manifest]:
    """All shards, in order."""
    shards = [shard_manifest.read(path) for path in sorted(folder.glob(shard_manifest.PATTERN))]
    if not shards:
        raise ValueError(
            f"There are no shards in {folder}. Make them with painjax generate --config={builder.builder_config.name} "
            "--shard=i/n, and name the same --data_dir."
        )
    expected = dataclasses.asdict(builder.builder_config.generator) | {"version": GENERATOR_VERSION}
    expected = {name: value for name, value in expected.items() if name not in _OF_THE_MACHINE}
    expected |= {"config": builder.builder_config.name, "identities": builder.builder_config.identities}
    wrong = _differences("this PainJAX has", json.loads(json.dumps(expected)), shards)
    wrong = wrong or _differences(f"{shards[0].name} has", shards[0].described, shards[1:])
    if wrong:
        raise ValueError(f"Shards in {folder} are not of one data set: {'; '.join(wrong)}. Remove or remake them.")
    missing = sorted(set(range(shards[0].shard.count)) - {each.shard.index for each in shards})
    if missing:
        names = ", ".join(f"{i}/{shards[0].shard.count}" for i in missing)
        raise ValueError(
            f"Shards in {folder} are missing: {names}. Make them with painjax generate "
            f"--config={builder.builder_config.name} --shard={missing[0]}/{shards[0].shard.count}."
        )
    known = {name for each in shards for name in each.files}
    unknown = sorted(path.name for path in folder.glob("*.array_record*") if path.name not in known)
    if unknown:
        raise ValueError(f"{folder} holds files of no finished shard: {', '.join(unknown)}. Remove them.")
    damaged = [f"shard {each.shard}: {fault}" for each in shards for fault in each.damage(folder)]
    if damaged:
        raise ValueError(f"Shards in {folder} are not whole: {'; '.join(damaged)}. Remove their .json; remake them.")
    return shards


def _differences(other: str, expected: dict[str, Any], shards: Sequence[Manifest]) -> list[str]:
    """Each setting in which a shard is not as expected, as a text."""
    return [
        f"{each.name} has {key} {each.described.get(key)!r}, and {other} {value!r}"
        for each in shards
        for key, value in expected.items()
        if each.described.get(key) != value
    ]


def _has(split: str, shards: Sequence[Manifest]) -> bool:
    return any(file.split == split for each in shards for file in each.files.values())


def _split(name: str, shards: Sequence[Manifest]) -> tfds.core.SplitInfo:
    files = [file for each in shards for file in each.files.values() if file.split == name]
    return tfds.core.SplitInfo(
        name=name, shard_lengths=[file.examples for file in files], num_bytes=sum(file.example_bytes for file in files)
    )
