r"""The paper's ViTPain (`paper_student`) with a teacher that reads heatmaps (`paper_teacher`), which guides it.

python -m painjax train --config=configs/paper_distilled.py --workdir=runs/paper_distilled \
    --config.pretrained=models/dinov3_l --config.teacher=runs/paper_teacher

That the teacher guides is the paper's; how is not published, neither losses nor weights. They are those of our
`student`, but for the heatmap, for which the paper's model has no head.
"""

from ml_collections import ConfigDict

from configs import paper_student, student


def get_config(variant: str = "") -> ConfigDict:
    """The published recipe with our guidance; variant 'test' shrinks it."""
    config = paper_student.get_config(variant)
    guidance = student.get_config().loss
    config.teacher = config.teacher_outputs = ""
    config.model.project_width = 32 if variant == "test" else 1024  # the teacher's
    for weight in ("attention", "features", "match_pspi", "match_aus", "match_thresholds"):
        config.loss[weight] = guidance[weight]
    return config
