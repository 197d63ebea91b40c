import pytest

from configs import student, student_supervised, teacher
from painjax.data.outline import batch_outline
from painjax.data.pipeline import train_batches


@pytest.mark.parametrize("experiment", [teacher, student, student_supervised], ids=lambda module: module.__name__)
@pytest.mark.parametrize("neutral", ["none", "channels", "shared"])
def test_the_outline_is_that_of_a_real_batch(synthetic_dataset, experiment, neutral):
    config = experiment.get_config("test")
    config.data.data_dir = str(synthetic_dataset)
    config.model.neutral = neutral
    outline = {name: (each.shape, each.dtype) for name, each in batch_outline(config).items()}
    assert outline == {name: (rows.shape, rows.dtype) for name, rows in next(train_batches(config)).items()}
