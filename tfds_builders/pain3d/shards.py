"""One shard of a configuration, written by this machine alone: `painjax generate --shard=i/n`.

    DIR/pain3d/CONFIG/shards/pain3d-train.array_record-00003-of-00008    records, named as TFDS names them
    DIR/pain3d/CONFIG/shards/shard-00003-of-00008.json                   what they are; written last

`merge` makes a data set of the folder. No TensorFlow and no `tfds` command line are needed.
"""

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import tensorflow_datasets as tfds

from data_gen import finished, preflight
from data_gen.diffusion import room
from data_gen.generate import generate
from data_gen.plan import frames_per_identity
from data_gen.scene import SPLITS, split_of
from data_gen.shards import Shard, holders
from tfds_builders.pain3d import shard_manifest
from tfds_builders.pain3d.pain3d_dataset_builder import Builder
from tfds_builders.pain3d.shard_manifest import File, Manifest
from tfds_builders.pain3d.shuffled_file import ShuffledFile


def folder_of(builder: Builder) -> Path:
    """Where the shards of a configuration lie until they are merged."""
    return Path(builder.data_dir).parent / "shards"


def write(builder: Builder, shard: Shard, manual_dir: str | None = None) -> Path:
    """Draws the frames of a shard's identities; the path of its manifest.

    One that was killed goes on with the identities that it had finished, and one that is whole is left as it is.

    Raises:
      ValueError: if there are more shards than identities.
      PermissionError: if nothing can be written to the data directory.
      OSError: if there is too little room there, or in the cache for what is to be painted.
    """
    config, folder = builder.builder_config, folder_of(builder)
    people = shard.identities(config.identities)
    generator, settings = builder.prepare(manual_dir)
    told = json.loads(json.dumps(settings | {"code": finished.code()}))  # tuples become lists, as they will be read
    manifest = Manifest(shard, config.name, config.identities, told, files={})
    if _is_there(folder, manifest):
        logging.info("Shard %s is there already.", shard)
        return folder / manifest.name
    keep = finished.folder(folder.parent, settings)
    frames, present = len(people) * frames_per_identity(generator.plan), finished.kept_bytes_of(keep, people)
    preflight.check_output(folder, frames, generator.image_size, present)
    room.check(generator, people, folder, preflight.needed_bytes(frames, generator.image_size) - present)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.name).unlink(missing_ok=True)  # of other settings, or without its files
    drafts = f".{shard.index:05d}-of-{shard.count:05d}."
    for left in folder.glob(f"{drafts}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=drafts) as private:
        files = {split: ShuffledFile(Path(private) / name, split) for split, name in _names(builder, shard).items()}
        serialize = builder.info.features.serialize_example
        for key, example in generate(generator, people, keep=keep):
            split = split_of(generator.dataset_seed, int(example["identity"]["id"]))
            files[split].add(key, serialize(example))
        for split, file in files.items():
            file.finish()
            manifest.files[file.path.name] = File(
                split, file.examples, file.example_bytes, file.path.stat().st_size, shard_manifest.sha256(file.path)
            )
        draft = Path(private) / manifest.name
        draft.write_text(manifest.json())
        for path in (*(file.path for file in files.values()), draft):
            os.replace(path, folder / path.name)
    finished.remove(keep, people)
    return folder / manifest.name


def _is_there(folder: Path, manifest: Manifest) -> bool:
    """Whether such a shard is finished, with files of the right sizes."""
    path = folder / manifest.name
    if not path.exists():
        return False
    try:
        there = shard_manifest.read(path)
    except ValueError as error:
        logging.warning("%s", error)
        return False
    whole = all(
        (folder / name).exists() and (folder / name).stat().st_size == file.size for name, file in there.files.items()
    )
    return whole and there.described == manifest.described


def _names(builder: Builder, shard: Shard) -> dict[str, str]:
    """Of each split that the shard has somebody of, its file: numbered among those that there will be of the split."""
    config, names = builder.builder_config, {}
    for split in SPLITS:
        having = holders(shard.count, config.generator.dataset_seed, config.identities, split)
        if shard.index in having:
            template = tfds.core.ShardedFileTemplate(
                data_dir=builder.data_path, dataset_name=builder.name, split=split,
                filetype_suffix=builder.info.file_format.file_suffix,
            )  # fmt: skip
            path = template.sharded_filepath(shard_index=having.index(shard.index), num_shards=len(having))
            names[split] = path.name
    return names
