"""The teacher of an experiment: a trained model that runs inside the step, or what it has said before.

Outputs that `painjax precompute` has stored are those of heatmaps as they are and mirrored. Shifting, scaling or
turning a frame changes what a teacher sees in more ways than can be stored, so with `config.teacher_outputs` these
augmentations must be off; those of colour, and dropping the neutral reference, do not touch the heatmap.
"""

import os
from collections.abc import Mapping

from absl import logging
from ml_collections import ConfigDict

from painjax.checkpoint import best_step, read_config, weights_sha256
from painjax.data.geometry import MOVES
from painjax.data.precomputed import Manifest, read_manifest
from painjax.data.records import dataset_version
from painjax.data.sources import FrameSource
from painjax.errors import UserError
from painjax.provenance import last_start


def find_teacher(config: ConfigDict) -> tuple[ConfigDict | None, int | None]:
    """The configuration of the teacher that runs in the step, None if none does, and the step of its training that it
    is of; None, None for an experiment without a teacher.

    Raises:
      UserError: if there is no teacher where one is asked for, or it or its outputs do not fit the experiment.
    """
    if config.get("teacher_outputs"):
        return None, _check_outputs(config).teacher_step
    if "teacher" not in config:
        return None, None
    advice = "give the working directory of a trained teacher, for instance --config.teacher=runs/teacher."
    if not config.teacher:
        raise UserError(f"config.teacher is empty, and this experiment learns from a teacher; {advice}")
    try:
        teacher, step = read_config(config.teacher), best_step(config.teacher)
    except FileNotFoundError as error:
        raise UserError(f"config.teacher = {config.teacher!r}: {error}") from error
    if wrong := misfits(teacher, config):
        raise UserError(f"The teacher in {config.teacher} does not fit: {'; '.join(wrong)}. Change one of the two.")
    return teacher, step


def note_other_data(config: ConfigDict, data_set: Mapping[str, str]) -> None:
    """Warns if the teacher in the step has learned from another version of `data_set`, in which other people may be
    held out."""
    start = last_start(config.teacher)
    before = data_set if start is None else start["data_set"]
    if before != data_set and before["name"] == data_set["name"]:
        logging.warning(
            "The teacher in %s was trained on version %s (%s) of %s, and here is version %s (%s): it may have learned "
            "from people whom this training holds out.",
            config.teacher, before["version"], before["fingerprint"], before["name"], data_set["version"],
            data_set["fingerprint"],
        )  # fmt: skip


def misfits(teacher: ConfigDict, student: ConfigDict) -> list[str]:
    """Why the student cannot learn from the teacher, by their configurations; empty if it can."""
    wrong = []
    if teacher.data.input != "heatmap":
        wrong.append(f"it takes data.input = {teacher.data.input!r} where a teacher takes 'heatmap'")
    for field in ("image_size", "patch_size"):
        if teacher.model[field] != student.model[field]:
            wrong.append(f"its model.{field} is {teacher.model[field]}, the student's {student.model[field]}")
    if student.loss.get("features") and teacher.model.width != student.model.project_width:
        wrong.append(
            f"its model.width is {teacher.model.width}, the student's project_width {student.model.project_width}"
        )
    return wrong


def _check_outputs(config: ConfigDict) -> Manifest:
    """What the stored outputs are, once it is sure that they are what the teacher would say in the step."""
    folder, data, model = config.teacher_outputs, config.data, config.model
    if "teacher" not in config:
        raise UserError(f"config.teacher_outputs is {folder!r}, and this experiment has no teacher; leave it empty.")
    manifest = read_manifest(folder)
    wrong = _other_data(data, manifest) + _other_teacher(config.teacher, manifest)
    patches = (model.image_size // model.patch_size) ** 2
    if (manifest.image_size, manifest.patches) != (model.image_size, patches):
        wrong.append(
            f"they are of {manifest.patches} patches of heatmaps of {manifest.image_size} pixels, and the student has "
            f"{patches} of {model.image_size} pixels"
        )
    if config.loss.get("features") and manifest.width != model.project_width:
        wrong.append(f"their width is {manifest.width}, the student's project_width {model.project_width}")
    if data.augment.flip and not manifest.flip:
        wrong.append(
            f"they are without mirrored heatmaps (--no_flip), and config.data.augment.flip is {data.augment.flip}"
        )
    if wrong:
        raise UserError(
            f"The outputs in config.teacher_outputs = {folder!r} do not fit: {'; '.join(wrong)}. Change these "
            "settings, or run `painjax precompute` for this experiment."
        )
    moves = {name: data.augment.get(name, 0) for name in MOVES if data.augment.get(name, 0)}
    if moves:
        raise UserError(
            f"config.teacher_outputs is {folder!r}, and these augmentations change what the teacher sees: "
            f"{', '.join(f'config.data.augment.{name} = {value}' for name, value in moves.items())}. Set them to 0 ("
            f"{' '.join(f'--config.data.augment.{name}=0' for name in moves)}), or let the teacher run in the step, "
            "without teacher_outputs."
        )
    return manifest


def _other_data(data: ConfigDict, manifest: Manifest) -> list[str]:
    wrong = []
    now = dataset_version(data.name, data.data_dir)
    for key, value in manifest.data_set.items():
        if now[key] != value:
            wrong.append(f"they are of a data set of {key} {value}, and config.data names one of {key} {now[key]}")
    if manifest.split != data.train_split:
        wrong.append(f"they are of split {manifest.split!r}, and config.data.train_split is {data.train_split!r}")
    elif not wrong and (count := len(FrameSource(data.name, data.train_split, (), data.data_dir))) != manifest.count:
        wrong.append(f"they are of {manifest.count} examples, and the split has {count}")
    return wrong


def _other_teacher(folder: str | os.PathLike, manifest: Manifest) -> list[str]:
    if not folder:
        return []
    try:
        step = best_step(folder)
        sha256 = weights_sha256(folder, step)
    except FileNotFoundError as error:
        raise UserError(f"config.teacher = {folder!r}: {error}") from error
    if sha256 == manifest.teacher_sha256:
        return []
    return [
        f"they are of step {manifest.teacher_step} of {manifest.teacher} (weights {manifest.teacher_sha256[:12]}...), "
        f"and config.teacher is {folder!r}, whose best step is {step} (weights {sha256[:12]}...)"
    ]
