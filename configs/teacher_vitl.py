r"""The teacher at ViT-L size, for accelerators: full-size heatmaps, bfloat16, weights split over four devices.

python -m painjax train --config=configs/teacher_vitl.py --workdir=runs/teacher_vitl
"""

from ml_collections import ConfigDict

from configs import teacher


def get_config(variant: str = "") -> ConfigDict:
    """The teacher's experiment on pain3d/full with a ViT-L; variant 'test' shrinks it."""
    config = teacher.get_config()
    enlarge(config)
    if variant == "test":
        teacher.shrink(config)
    elif variant:
        raise ValueError(f"Unknown variant {variant!r}; expected 'test' or nothing.")
    return config


def enlarge(config: ConfigDict) -> None:
    """Makes an experiment one for accelerators, with an encoder of the size of DINOv3's ViT-L."""
    config.data.name = "pain3d/full"
    config.steps = 2_000  # 71 times the training split
    config.batch_size = 2048  # 128 on each of 16 chips
    config.model.update({"image_size": 224, "width": 1024, "depth": 24, "heads": 16})
    config.model.update({"dtype": "bfloat16", "matmul_dtype": "float32", "remat": "full"})
    config.frozen_dtype = "bfloat16"
    config.ema_decay = 0.999
    config.optim.learning_rate = 3e-4
    config.optim.warmup_steps = 200
    config.mesh.fsdp = 4
    config.log_every = 20
    config.validate_every = 200
    config.checkpoint_every = 100
