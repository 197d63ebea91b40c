r"""Of the student's guidance only the teacher's features: labels, and every patch token pointing the teacher's way.

python -m painjax train --config=configs/student_features_only.py --workdir=runs/student_features_only \
    --config.teacher=runs/teacher
"""

from ml_collections import ConfigDict

from configs import student


def get_config(variant: str = "") -> ConfigDict:
    """The student's experiment without heatmaps and the teacher's predictions; variant 'test' shrinks it."""
    config = student.get_config(variant)
    for weight in ("heatmap", "attention", "match_pspi", "match_aus", "match_thresholds"):
        config.loss[weight] = 0.0
    return config
