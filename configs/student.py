"""The student: sees the picture (and a neutral one of the same person), learns from labels and from the teacher.

python -m painjax train --config=configs/student.py --workdir=runs/student --config.teacher=runs/teacher

What guidance is worth on the six test identities of pain3d/quick: MAE of PSPI, and mean PCC of the five graded AUs.
A second number is another training seed's; they differ by a tenth, so that only the AUs' gain over labels is sure.

    student (as it stands, `make quickstart`)   1.83, 1.87   0.73, 0.77
    student_attention_only                      1.71, 1.83   0.75, 0.75
    student_features_only                       1.83         0.69
    student_heatmap_only                        1.86         0.68
    student_logits_only                         2.10         0.64
    student_supervised (labels alone)           1.97, 1.92   0.60, 0.62

With --config.steps=200 --config.batch_size=32, a quarter of the frames, the student has 3.02 and 0.63, labels alone
4.25 and 0.06: it learns sooner. --config.loss.attention=1.0 gave 1.72, 2.01 and 0.77, 0.77; without the teacher's
predictions 1.87 and 0.75. Attention alone needs no teacher and does as well in the score, but says nothing of the
heatmap. These are small trainings from random weights; none has been compared at full size.
"""

from ml_collections import ConfigDict

from configs import teacher


def get_config(variant: str = "") -> ConfigDict:
    """The teacher's experiment on pictures, with distillation; variant 'test' shrinks it."""
    config = teacher.get_config()
    config.teacher = ""  # working directory of the trained teacher
    config.teacher_outputs = ""  # or what it has said before: a folder made by `painjax precompute`
    config.steps = 400

    config.data.input = "image"
    config.data.drop_neutral = 0.2
    config.model.in_channels = 3
    config.model.neutral = "channels"
    config.model.project_width = config.model.width  # the teacher's

    # Dense guidance: every patch token says what the heatmap and the teacher say at its place.
    config.loss.heatmap = 1.0
    config.loss.attention = 0.1
    config.loss.features = 1.0
    config.loss.match_pspi = 0.5
    config.loss.match_aus = 0.5
    config.loss.match_thresholds = 0.1

    if variant == "test":
        teacher.shrink(config)
    elif variant:
        raise ValueError(f"Unknown variant {variant!r}; expected 'test' or nothing.")
    return config
