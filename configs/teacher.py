"""The teacher: sees the pain heatmap, learns PSPI and action units from it.

    python -m painjax train --config=configs/teacher.py --workdir=runs/teacher

Settings are changed on the command line: --config.steps=1000 --config.mesh.fsdp=4.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(variant: str = "") -> ConfigDict:
    """The experiment on pain3d/quick; with variant 'test' (`--config=configs/teacher.py:test`) a few seconds of it."""
    config = ConfigDict()
    config.seed = 0
    config.steps = 200
    config.batch_size = 64  # over all devices
    config.accumulate = 1  # parts of a batch, one after the other: less memory, the same update but for dropout's draws
    config.ema_decay = 0.0  # > 0: evaluate and keep the running mean of the weights, for instance 0.999
    config.frozen_dtype = "float32"  # of weights that do not train: the teacher's, the encoder's under LoRA
    config.pretrained = ""  # a model folder, as of `painjax import`, to start from; '': random weights

    config.data = ConfigDict()
    config.data.name = "pain3d/quick"
    config.data.data_dir = placeholder(str)  # None: TFDS_DATA_DIR, or ~/tensorflow_datasets
    config.data.train_split = "train"
    config.data.validation_split = "validation"
    config.data.input = "heatmap"  # what the model sees: 'heatmap' or 'image'
    config.data.drop_neutral = 0.0  # how often a training example goes without its neutral reference
    config.data.threads = 2  # that read and decode pictures, in each process that does
    config.data.workers = 0  # processes that do, beside the one that trains; 0: itself does
    config.data.sampling = "uniform"  # 'balanced': the PSPI classes 0, 1-2, 3-4, 5-8, 9-16 equally often
    config.data.neutral = "same_view"  # neutral reference: 'same_view', 'random_view', or 'several' of the same person
    config.data.neutrals = 1  # pictures of 'several'
    config.data.label_noise = 0.0  # standard deviation on action units of 0..5, in training; PSPI follows from them
    config.data.landmarks = False  # bring the 68 landmarks, moved as the pixels are
    config.data.augment = ConfigDict()
    config.data.augment.flip = 0.5
    config.data.augment.shift = 0.05  # of the side
    config.data.augment.scale = 0.1  # log of the factor
    config.data.augment.rotation = 0.0  # degrees
    config.data.augment.brightness = 0.1
    config.data.augment.contrast = 0.2
    config.data.augment.saturation = 0.2
    config.data.augment.tint = 0.05
    config.data.augment.noise = 0.02
    config.data.augment.blur = 0.0  # standard deviation at most, of the side
    config.data.augment.erase = 0.0  # how often a rectangle of the frame is hidden

    config.model = ConfigDict()
    config.model.image_size = 112
    config.model.patch_size = 16
    config.model.in_channels = 1
    config.model.width = 192
    config.model.depth = 6
    config.model.heads = 3
    config.model.mlp_ratio = 4.0
    config.model.registers = 4
    config.model.layer_scale = 0.1
    config.model.dropout = 0.0
    config.model.neutral = "none"
    config.model.project_width = 0
    config.model.uncertainty = False  # a head for the variance of PSPI, trained by loss.pspi_nll
    config.model.lora_rank = 0  # > 0: the encoder keeps its pretrained weights, and adapters of this rank are trained
    config.model.lora_alpha = 16.0
    config.model.lora_dropout = 0.0
    config.model.lora_targets = r"blocks/(qkv|proj)"
    config.model.dtype = "float32"
    config.model.matmul_dtype = "bfloat16"  # three times faster on a CPU that has units for it
    config.model.remat = "dots"

    config.loss = ConfigDict()
    config.loss.pspi = 1.0
    config.loss.pspi_nll = 0.0
    config.loss.aus = 1.0
    config.loss.consistency = 0.1  # of PSPI with the formula on the AUs
    config.loss.thresholds = 0.1
    config.loss.heatmap = 0.0
    config.loss.attention = 0.0

    config.optim = ConfigDict()
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"  # after the warm-up: 'cosine', 'rsqrt' or 'constant'
    config.optim.warmup_steps = 30
    config.optim.final_fraction = 0.01
    config.optim.weight_decay = 0.05
    config.optim.b1 = 0.9
    config.optim.b2 = 0.95
    config.optim.clip_norm = 1.0
    config.optim.groups = ConfigDict({"all": {"pattern": ".*", "rate": 1.0}})

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "model": 1})  # -1: the devices left over

    config.log_every = 10
    config.validate_every = 100
    config.checkpoint_every = 50
    config.keep_checkpoints = 2  # the last ones, and the best:
    config.keep_best = "pspi.mae"  # by this metric of the validation
    config.tensorboard = False  # also write W/tensorboard
    config.wandb = ""  # a project of Weights & Biases to log to; '': none
    config.profile = ConfigDict({"start": 0, "steps": 3})  # trace so many steps from step `start` on; 0: never

    if variant == "test":
        shrink(config)
    elif variant:
        raise ValueError(f"Unknown variant {variant!r}; expected 'test' or nothing.")
    return config


def shrink(config: ConfigDict) -> None:
    """Makes any of our experiments small enough to train on 32-pixel images in a test."""
    config.steps = 4
    config.batch_size = 8
    config.model.update({"image_size": 32, "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "dropout": 0.1})
    config.model.matmul_dtype = "float32"
    if config.model.project_width:
        config.model.project_width = config.model.width
    config.optim.warmup_steps = 1
    config.log_every = 1
    config.validate_every = 4
    config.checkpoint_every = 2
