"""The student without a teacher and without heatmaps: what distillation is compared with.

python -m painjax train --config=configs/student_supervised.py --workdir=runs/student_supervised
"""

from ml_collections import ConfigDict

from configs import student


def get_config(variant: str = "") -> ConfigDict:
    """The student's experiment with the labels alone; variant 'test' shrinks it."""
    config = student.get_config(variant)
    del config.teacher, config.teacher_outputs
    config.model.project_width = 0
    config.loss.heatmap = 0.0
    config.loss.attention = 0.0
    for weight in ("features", "match_pspi", "match_aus", "match_thresholds"):
        del config.loss[weight]
    return config
