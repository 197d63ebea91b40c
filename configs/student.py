"""The student: sees the picture (and a neutral one of the same person), learns from labels and from the teacher.

python -m painjax train --config=configs/student.py --workdir=runs/student --config.teacher=runs/teacher

What guidance is worth, against labels alone (`student_supervised`), on the test identities of pain3d/quick, one run
each: as it stands (`make quickstart`) MAE of PSPI 1.99 and 1.99, mean PCC of the graded AUs 0.73 and 0.60; with
--config.steps=200 --config.batch_size=32, a quarter of the frames, 3.02 and 4.25, 0.63 and 0.06. So it learns sooner,
and more about action units. `student_*_only` keep one kind of guidance each. These are small trainings; none has been
compared at full size.
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
