r"""The student on pretrained weights: an imported DINOv3 encoder stays as it is, LoRA adapters and heads are trained.

python -m painjax train --config=configs/student_lora.py --workdir=runs/student_lora \
    --config.teacher=runs/teacher --config.pretrained=weights/dinov3_s
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import student

# What the pretrained weights decide: None is filled in from them when the training starts.
OF_THE_WEIGHTS = {
    "patch_size": int,
    "width": int,
    "depth": int,
    "heads": int,
    "mlp_ratio": float,
    "registers": int,
    "layer_scale": float,
}


def get_config(variant: str = "") -> ConfigDict:
    """The student's experiment with LoRA on `config.pretrained`; variant 'test' shrinks it."""
    config = student.get_config(variant)
    for name, kind in OF_THE_WEIGHTS.items():
        config.model[name] = placeholder(kind)
    config.model.lora_rank = 8
    config.model.lora_dropout = 0.1
    # New input channels would need a trained patch embedding; cross-attention has weights of its own.
    config.model.neutral = "shared"
    config.optim.groups = ConfigDict(
        {
            "adapters": {"pattern": ".*/lora_[ab]", "rate": 0.1},  # the authors' ratio
            "heads": {"pattern": r"(?!.*/lora_[ab]$).*", "rate": 1.0},
        }
    )
    return config
