r"""Of the student's guidance only where to look: labels, and AU queries drawn to the warm parts of the heatmap.

python -m painjax train --config=configs/student_attention_only.py --workdir=runs/student_attention_only
"""

from ml_collections import ConfigDict

from configs import student_supervised


def get_config(variant: str = "") -> ConfigDict:
    """The experiment on labels alone with guided attention, which needs no teacher; variant 'test' shrinks it."""
    config = student_supervised.get_config(variant)
    config.loss.attention = 0.1
    return config
