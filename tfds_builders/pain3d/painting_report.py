"""What came of the diffusion models in a data set, counted from its own records, whoever built it: `painting.json`.

    {"train": {"people": 50, "people_procedural": 1, "portraits_refused": {"blank": 4}, "frames": 1650,
               "frames_rendered": 3, "neutral_rendered": 0, "backdrops_refused": {"face is lost": 9}}, ...}

The last four lines of a split are there with backdrops only. A portrait is counted once for each person, and so are
its refusals; a backdrop for each frame.
"""

import collections
import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader
from etils import epath

NAME = "painting.json"
_SKIP = tfds.decode.SkipDecoding()
_PICTURES = dict.fromkeys(("image", "neutral_image", "heatmap", "heatmap_frontal", "mask"), _SKIP)


def write(folder: epath.PathLike) -> epath.Path:
    """Counts a finished data set with diffusion textures, and says so where anything fell back.

    Of one in a bucket each file is copied to this machine's disk for as long as it is read.
    """
    builder = tfds.builder_from_directory(folder)
    counts = {split: count(_records(builder, split)) for split in builder.info.splits}
    path = epath.Path(folder) / NAME
    draft = path.with_name(f".{NAME}")
    draft.write_text(json.dumps(counts, indent=1) + "\n")
    draft.replace(path)
    for split, told in counts.items():
        fell_back = told["people_procedural"] or told.get("frames_rendered") or told.get("neutral_rendered")
        logging.log(logging.WARNING if fell_back else logging.INFO, "%s: %s", split, json.dumps(told))
    return path


def count(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of one split."""
    portraits, refused = {}, collections.Counter()
    frames = rendered = neutral_rendered = 0
    for record in records:
        portraits[int(record["identity"]["id"])] = record["portrait"]
        if "backdrop" in record:
            told, frames = record["backdrop"], frames + 1
            rendered += not told["painted"]
            neutral_rendered += not told["neutral_painted"]
            refused.update(_faults(told))
    counts = {
        "people": len(portraits),
        "people_procedural": sum(not told["painted"] for told in portraits.values()),
        "portraits_refused": dict(collections.Counter(fault for told in portraits.values() for fault in _faults(told))),
    }
    if frames:
        counts |= {
            "frames": frames,
            "frames_rendered": rendered,
            "neutral_rendered": neutral_rendered,
            "backdrops_refused": dict(refused),
        }
    return counts


def _faults(told: Mapping[str, Any]) -> list[str]:
    return [fault for fault in told["faults"].decode().split("; ") if fault]


def _records(builder: tfds.core.DatasetBuilder, split: str) -> Iterable[Mapping[str, Any]]:
    """Records whose pictures are left encoded."""
    decoders = _PICTURES | ({"backdrop": {"kept": _SKIP}} if "backdrop" in builder.info.features else {})
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        return tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders))
    if "://" in builder.data_dir:  # array_record's own reader knows folders only
        return _copied(builder, split, decoders)
    return builder.as_data_source(split, decoders=decoders)


def _copied(builder: tfds.core.DatasetBuilder, split: str, decoders: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    for path in builder.info.splits[split].filepaths:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            with path.open("rb") as records, copy.open("wb") as file:
                shutil.copyfileobj(records, file)
            for record in ArrayRecordReader(str(copy)).read_all():
                yield builder.info.features.deserialize_example_np(record, decoders=decoders)
