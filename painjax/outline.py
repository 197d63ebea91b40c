"""An experiment in outline, complete enough to be compiled: shapes need neither pretrained weights nor a teacher."""

from ml_collections import ConfigDict

from painjax import pretrained
from painjax.errors import UserError
from painjax.settings import check_settings
from painjax.teacher import misfits


def complete(config: ConfigDict) -> ConfigDict:
    """The experiment with every setting decided. `config.pretrained` is read only if it is given.

    Raises:
      UserError: if sizes are left to pretrained weights that are not given, or settings are not fit for training.
    """
    config = _sized(config)
    checked = config.copy_and_resolve_references()
    checked.pretrained = config.get("pretrained") or "any weights of these sizes"  # else LoRA would be refused
    check_settings(checked)
    return config


def _sized(config: ConfigDict) -> ConfigDict:
    return pretrained.complete(config, pretrained.read(config.pretrained) if config.get("pretrained") else None)


def teacher_of(config: ConfigDict, given: ConfigDict | None) -> ConfigDict | None:
    """The teacher's experiment: the one given, or one with the student's own sizes that sees heatmaps; None for an
    experiment without a teacher in the step.

    Raises:
      UserError: if the student cannot learn from it.
    """
    if "teacher" not in config or config.get("teacher_outputs"):
        return None
    teacher = config.copy_and_resolve_references() if given is None else _sized(given)
    if given is None:
        teacher.data.input = "heatmap"
        teacher.model.update({"in_channels": 1, "neutral": "none", "lora_rank": 0, "project_width": 0})
    if wrong := misfits(teacher, config):
        which = "The teacher of --teacher" if given is not None else "A teacher of the student's own sizes"
        raise UserError(
            f"{which} does not fit: {'; '.join(wrong)}. Name the configuration of one that fits: --teacher=FILE."
        )
    return teacher
