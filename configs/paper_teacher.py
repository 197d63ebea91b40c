r"""A teacher by the paper's numbers (`paper_student`) that reads pain heatmaps, as the paper says its teacher did.

python -m painjax train --config=configs/paper_teacher.py --workdir=runs/paper_teacher \
    --config.pretrained=models/dinov3_l

Published is that there was one, a ViT on heatmaps; not its training. So the numbers are those of `paper_student`, and
the rest is ours: heatmaps of one channel, aligned with the frame (the paper's are frontal and coloured), no neutral
reference, a new classifier on the same public weights.
"""

from ml_collections import ConfigDict

from configs import paper_student


def get_config(variant: str = "") -> ConfigDict:
    """The published recipe on heatmaps; variant 'test' shrinks it."""
    config = paper_student.get_config(variant)
    config.data.input = "heatmap"
    config.model.in_channels = 1
    config.model.neutral = "none"
    return config
