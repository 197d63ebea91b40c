"""What a student learns from its teacher: four arrays, computed in the step or read beside the pictures."""

import dataclasses
from collections.abc import Mapping

import jax
from jaxtyping import Array, Float

from painjax.models.vitpain import ViTPainOutput

_PREFIX = "teacher_"  # of a batch's fields


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TeacherOutputs:
    """Of a frozen teacher, on the heatmaps of a batch; the fields are those of `ViTPainOutput`."""

    patch_tokens: Float[Array, "B P D"]
    pspi: Float[Array, "B"]
    aus: Float[Array, "B A"]
    threshold_logits: Float[Array, "B T"]

    @classmethod
    def of_model(cls, output: ViTPainOutput) -> "TeacherOutputs":
        """Those of what a teacher has just computed."""
        return cls(**{field.name: getattr(output, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def of_batch(cls, batch: Mapping[str, Array]) -> "TeacherOutputs | None":
        """Those that the batch brings, as `teacher_patch_tokens` and so on; None if it brings none."""
        if _PREFIX + "patch_tokens" not in batch:
            return None
        return cls(**{field.name: batch[_PREFIX + field.name] for field in dataclasses.fields(cls)})
