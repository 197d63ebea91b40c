r"""The paper's second stage: ViTPain after 3DPain goes on with UNBC-McMaster, one fold of five.

painjax import --from=vitpain-epoch=141-val_regression_mae=1.859.ckpt --to=models/vitpain
tfds build tfds_builders/unbc --config=fold_0 --manual_dir=DIR
python -m painjax train --config=configs/paper_unbc.py --workdir=runs/paper_unbc_0 \
    --config.pretrained=models/vitpain --config.data.name=unbc/fold_0

As `paper_student`, but 50 epochs in batches of 100, the AUs weigh 0.1, and pictures are flipped (chance 0.3), turned by
up to 15 degrees and recoloured (0.2). An epoch is taken as 310 batches: of UNBC-McMaster's 48,398 frames 16 of 25
subjects train, which differs from fold to fold.

The published code draws frames with pain twice as often, goes on with the checkpoint's adapters, and chooses by the
subjects that it reports. Here all frames are drawn alike (`data.sampling` 'balanced' would go further than twice), the
adapters are folded into the weights and new ones trained, and others choose (tfds_builders/unbc/README.md).
"""

from ml_collections import ConfigDict

from configs import paper_student, unbc_finetune


def get_config(variant: str = "") -> ConfigDict:
    """The published recipe on unbc/fold_0, from `config.pretrained`; variant 'test' shrinks it."""
    config = unbc_finetune.get_config(variant)
    paper_student.as_published(config)
    config.data.drop_neutral = 0.0
    config.data.sampling = "uniform"
    config.data.augment.update({"flip": 0.3, "rotation": 15.0, "shift": 0.0, "scale": 0.0})
    config.data.augment.update({"brightness": 0.1, "contrast": 0.2, "saturation": 0.0, "tint": 0.0, "noise": 0.0})
    config.loss.aus = 2.5
    config.optim.groups = paper_student.get_config().optim.groups
    if variant != "test":
        paper_student.train_for(config, epochs=50, frames=31_000, batch_size=100)
    return config
