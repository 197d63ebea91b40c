"""`painjax train --check`: whether this host has the files that a training needs, for launchers to ask first.

Where one host of many has not, it alone would say so, and the others would wait for it.
"""

from ml_collections import ConfigDict

from painjax.checkpoint import read_config
from painjax.data.pipeline import image_fields
from painjax.data.precomputed import PrecomputedOutputs
from painjax.data.sources import FrameSource
from painjax.errors import UserError
from painjax.model_folder import has_weights


def check_host(config: ConfigDict) -> str:
    """Opens the data set and looks for the teacher and the pretrained weights; needs no device.

    Returns:
      What was found, in one line.

    Raises:
      UserError: naming what is missing here.
    """
    folder = config.get("pretrained")
    if folder and not has_weights(folder):
        raise UserError(
            f"config.pretrained is {folder!r}, where there is no model folder with its weights. Copy it to this "
            "host, or give a folder that all hosts share."
        )
    if config.get("teacher"):
        try:
            read_config(config.teacher)
        except FileNotFoundError as error:
            raise UserError(f"config.teacher is {config.teacher!r}: {error}") from error
    if config.get("teacher_outputs"):
        PrecomputedOutputs(config.teacher_outputs)
    data = config.data
    training, validation = (
        len(FrameSource(data.name, split, image_fields(config), data.data_dir))
        for split in (data.train_split, data.validation_split)
    )
    return f"This host has {data.name}: {training} frames to learn from, {validation} to validate with."
