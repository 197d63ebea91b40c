r"""Of the student's guidance only the heatmap: labels, and every patch token predicting its own patch of the heatmap.

python -m painjax train --config=configs/student_heatmap_only.py --workdir=runs/student_heatmap_only
"""

from ml_collections import ConfigDict

from configs import student_supervised


def get_config(variant: str = "") -> ConfigDict:
    """The experiment on labels alone with the heatmap to predict, which needs no teacher; variant 'test' shrinks it."""
    config = student_supervised.get_config(variant)
    config.loss.heatmap = 1.0
    return config
