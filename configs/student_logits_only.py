r"""Of the student's guidance only the teacher's predictions: labels, and its PSPI, action units and thresholds.

python -m painjax train --config=configs/student_logits_only.py --workdir=runs/student_logits_only \
    --config.teacher=runs/teacher
"""

from ml_collections import ConfigDict

from configs import student


def get_config(variant: str = "") -> ConfigDict:
    """The student's experiment without heatmaps and the teacher's features; variant 'test' shrinks it."""
    config = student.get_config(variant)
    config.model.project_width = 0
    for weight in ("heatmap", "attention", "features"):
        config.loss[weight] = 0.0
    return config
