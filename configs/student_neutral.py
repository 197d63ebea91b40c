r"""The student that meets neutral references by cross-attention: two at once, from any view.

python -m painjax train --config=configs/student_neutral.py --workdir=runs/student_neutral --config.teacher=runs/teacher

`student` takes frame minus neutral, pixel by pixel, which is strong and cheap where both have the same view, and
meaningless where they have not. Here the frame's tokens look the neutral ones up wherever they are, so that it suits
photographs (`unbc_finetune`), at three times the encoder's work while training. One encoder serves all; a second one
of its own (`model.neutral` 'separate', the paper's) doubles the parameters.
"""

from ml_collections import ConfigDict

from configs import student


def get_config(variant: str = "") -> ConfigDict:
    """The student's experiment with cross-attention to the neutral reference; variant 'test' shrinks it."""
    config = student.get_config(variant)
    config.model.neutral = "shared"
    config.data.neutral = "several"
    config.data.neutrals = 2
    return config
