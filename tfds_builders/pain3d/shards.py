"""One shard of a configuration, written by this machine alone: `painjax generate --shard=i/n`.

    DIR/pain3d/CONFIG/shards/pain3d-train.array_record-00003-of-00008    records, named as TFDS names them
    DIR/pain3d/CONFIG/shards/shard-00003-of-00008.json                   what they are; written last

`merge` makes a data set of the folder. Neither TFDS nor TensorFlow is needed, but to download ICT-FaceKit.
"""

import functools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_gen import finished, preflight, tf_example
from data_gen.diffusion import room
from data_gen.face_models import ict_convert
from data_gen.generate import generate
from data_gen.generator_config import GeneratorConfig
from data_gen.plan import frames_per_identity
from data_gen.record import LABELS
from data_gen.scene import SPLITS, split_of
from data_gen.shards import Shard, holders
from tfds_builders.pain3d import preparation, shard_manifest
from tfds_builders.pain3d.shard_manifest import File, Manifest
from tfds_builders.pain3d.shuffled_file import ShuffledFile
from tfds_builders.pain3d.target import Target


def write(target: Target, shard: Shard, manual_dir: str | None = None) -> Path:
    """Draws the frames of a shard's identities; the path of its manifest.

    One that was killed goes on with the identities that it had finished, and one that is whole is left as it is.

    Raises:
      ValueError: if there are more shards than identities.
      PermissionError: if nothing can be written to the data directory.
      OSError: if there is too little room there, or in the cache for what is to be painted.
    """
    folder, people = target.shards, shard.identities(target.identities)
    generator, settings = prepare(target, manual_dir)
    told = json.loads(json.dumps(settings | {"code": finished.code()}))  # tuples become lists, as they will be read
    manifest = Manifest(shard, target.name, target.identities, told, files={})
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
        files = {split: ShuffledFile(Path(private) / name, split) for split, name in _names(target, shard).items()}
        for key, example in generate(generator, people, keep=keep):
            split = split_of(generator.dataset_seed, int(example["identity"]["id"]))
            files[split].add(key, tf_example.serialize(example, LABELS))
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


def prepare(target: Target, manual_dir: str | None) -> tuple[GeneratorConfig, dict[str, Any]]:
    """As `preparation.prepare`; TFDS downloads what is neither in `manual_dir` nor elsewhere."""
    manual = Path(manual_dir).expanduser() if manual_dir else target.data_dir / "downloads" / "manual"  # as in TFDS
    download = functools.partial(_download, target)
    return preparation.prepare(target.identities, target.generator, manual, download)


def _download(target: Target, urls: Mapping[str, str]) -> Mapping[str, Path]:
    try:
        from tfds_builders.pain3d.pain3d_dataset_builder import Builder
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The face model 'ict' needs the files of ICT-FaceKit Light. TFDS would download them, but "
            f"{error.name} is not installed. {ict_convert.HOW_TO_GET}", name=error.name,
        ) from error  # fmt: skip
    return Builder(config=target.name, data_dir=target.data_dir).download(urls)


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


def _names(target: Target, shard: Shard) -> dict[str, str]:
    """Of each split that the shard has somebody of, its file: numbered among those that there will be of the split."""
    names = {}
    for split in SPLITS:
        having = holders(shard.count, target.generator.dataset_seed, target.identities, split)
        if shard.index in having:
            place = f"{having.index(shard.index):05d}-of-{len(having):05d}"
            names[split] = f"pain3d-{split}.array_record-{place}"
    return names
