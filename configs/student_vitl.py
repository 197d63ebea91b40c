r"""The student at ViT-L size, for accelerators: LoRA on DINOv3's ViT-L, cross-attention to the neutral reference.

python -m painjax train --config=configs/student_vitl.py --workdir=runs/student_vitl \
    --config.teacher=runs/teacher_vitl --config.pretrained=models/dinov3_l
"""

from ml_collections import ConfigDict

from configs import student_lora, teacher, teacher_vitl


def get_config(variant: str = "") -> ConfigDict:
    """The student with LoRA, its encoder a ViT-L, learning from `teacher_vitl`; variant 'test' shrinks it."""
    config = student_lora.get_config()
    teacher_vitl.enlarge(config)
    # The sizes of the weights, so that the step can be compiled where they are not (`painjax aot`).
    config.model.update({"patch_size": 16, "mlp_ratio": 4.0, "registers": 4, "layer_scale": 1e-5})
    config.model.project_width = teacher_vitl.get_config().model.width
    config.steps = 1_000
    config.optim.learning_rate = 1e-3  # of the heads; adapters a tenth
    config.optim.warmup_steps = 100
    if variant == "test":
        teacher.shrink(config)
    elif variant:
        raise ValueError(f"Unknown variant {variant!r}; expected 'test' or nothing.")
    return config
