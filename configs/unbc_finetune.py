r"""A student of 3DPain goes on learning from photographs: UNBC-McMaster, labels alone, one fold.

painjax export --from=runs/student_neutral --to=exported/student_neutral --format=safetensors
tfds build tfds_builders/unbc --config=fold_0 --manual_dir=DIR
python -m painjax train --config=configs/unbc_finetune.py --workdir=runs/unbc_0 \
    --config.pretrained=exported/student_neutral --config.data.name=unbc/fold_0

The model is the exported one, whatever that is; all of it is trained, slowly. Most frames of UNBC-McMaster show no
pain: what they show is drawn equally often. Action units weigh a tenth, as in the paper. Steps and rates are ours, and
were not tuned: the licensed files were not at hand.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import student_lora, student_supervised

# What the student decides beside the shape of its encoder: None is filled in from it when the training starts.
OF_THE_STUDENT = student_lora.OF_THE_WEIGHTS | {
    "image_size": int,
    "in_channels": int,
    "neutral": str,
    "uncertainty": bool,
    "project_width": int,
}


def get_config(variant: str = "") -> ConfigDict:
    """The experiment on labels alone, from `config.pretrained`, on unbc/fold_0; variant 'test' shrinks it."""
    config = student_supervised.get_config(variant)
    for name, kind in OF_THE_STUDENT.items():
        config.model[name] = placeholder(kind)
    config.data.name = "unbc/fold_0"
    config.data.sampling = "balanced"
    config.loss.aus = 0.1
    config.optim.learning_rate = 1e-4
    if variant != "test":
        config.steps = 2000
        config.optim.warmup_steps = 100
    return config
