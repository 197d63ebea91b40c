import itertools
import re

import numpy as np
import pytest

from configs import student
from painjax.data.outline import batch_outline
from painjax.data.pipeline import eval_batches, train_batches
from painjax.data.references import References
from painjax.data.sources import FrameSource
from painjax.errors import UserError
from painjax.settings import check_settings
from tests.synthetic_pain3d import build


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return build(tmp_path_factory.mktemp("data"), size=32, train=24, validation=12, test=1)


@pytest.fixture
def config(data_dir):
    config = student.get_config("test")
    config.data.data_dir = str(data_dir)
    config.model.neutral = "shared"
    return config


def views_shown(pictures):
    """The synthetic background, 30 + 40 * view, in a corner of JPEGs."""
    return np.rint((pictures[..., 0, 0, 0].astype(int) - 30) / 40).astype(int)


def train_source(data_dir):
    return FrameSource("pain3d/quick", "train", ("neutral_image",), str(data_dir))


def test_another_view_of_the_same_person(config, data_dir):
    config.data.neutral = "random_view"
    source = train_source(data_dir)
    identity, view = source.columns("identity/id", "view/id")
    references = References(config, source)
    chosen = np.array([[references.draw(i, np.random.default_rng(n))[0] for n in range(60)] for i in range(24)])
    assert (identity[chosen] == identity[:, None]).all() and (view[chosen] != view[:, None]).all()
    for frame in range(24):
        assert set(view[chosen[frame]]) == {0, 1, 2} - {view[frame]}
    with train_batches(config) as batches:
        batch = next(batches)
    assert batch["neutral_image"].shape == (8, 32, 32, 3)
    assert (views_shown(batch["neutral_image"]) != view[batch["index"]]).all()


def test_several_take_the_views_in_turn(config, data_dir):
    config.data.update({"neutral": "several", "neutrals": 4})
    source = train_source(data_dir)
    identity, view = source.columns("identity/id", "view/id")
    chosen = References(config, source).draw(5, np.random.default_rng(0))
    assert set(view[chosen[:3]]) == {0, 1, 2} and (identity[chosen] == identity[5]).all()
    assert len(set(chosen)) == 4  # the fourth is another frame of a view that has two
    with train_batches(config) as batches:
        batch = next(batches)
    pictures = batch["neutral_image"]
    assert pictures.shape == (8, 4, 32, 32, 3)
    assert all(set(first) == {0, 1, 2} for first in views_shown(pictures[:, :3]))
    outline = batch_outline(config)
    assert {k: (v.shape, v.dtype) for k, v in outline.items()} == {k: (v.shape, v.dtype) for k, v in batch.items()}


def test_training_draws_anew_and_evaluation_does_not(config):
    config.data.update({"neutral": "several", "neutrals": 2})
    with train_batches(config) as batches:
        frames = [
            (int(i), p)
            for b in itertools.islice(batches, 9)
            for i, p in zip(b["index"], b["neutral_image"], strict=True)
        ]
    of_one = [views_shown(pictures).tolist() for index, pictures in frames if index == 3]
    assert len(of_one) == 3 and len({tuple(views) for views in of_one}) > 1
    for other in (0, 1):  # whatever the training's seed
        config.seed = other
        with eval_batches(config, "validation") as batches:
            found = [batch["neutral_image"] for batch in batches]
        first = found if other == 0 else first
        np.testing.assert_array_equal(found, first)


def test_a_person_seen_from_one_view_has_no_other(config, data_dir):
    config.data.neutral = "random_view"
    with pytest.raises(UserError, match="'random_view'.*1 identities, such as 2000, from one view only"):
        eval_batches(config, "test")


def test_a_data_set_without_views_counts_as_of_one(config, data_dir, monkeypatch):
    source = train_source(data_dir)
    identity = source.columns("identity/id")[0]
    monkeypatch.delitem(source._records.features, "view/id")
    config.data.update({"neutral": "several", "neutrals": 3})
    chosen = References(config, source).draw(5, np.random.default_rng(0))
    assert len(set(chosen)) == 3 and (identity[chosen] == identity[5]).all()
    config.data.update({"neutral": "random_view", "neutrals": 1})
    with pytest.raises(UserError, match="from one view only"):
        References(config, source)
    with pytest.raises(UserError, match="has no field view/id; it has .*identity/id"):
        source.columns("view/id")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"data.neutral": "any"}, "data.neutral is 'any'; expected one of same_view, random_view, several"),
        ({"data.neutrals": 3}, "data.neutrals is 3 and config.data.neutral 'same_view'"),
        ({"data.neutral": "random_view", "model.neutral": "channels"}, "'channels', which subtracts"),
        ({"data.neutral": "several", "model.neutral": "none"}, "'none', which takes none"),
        ({"data.sampling": "fair"}, "data.sampling is 'fair'; expected one of uniform, balanced"),
        ({"data.drop_neutral": 1.5}, "data.drop_neutral is 1.5; expected a chance, 0 to 1"),
        ({"optim.learning_rate": 0.0}, "optim.learning_rate is 0.0; expected more than 0"),
        ({"optim.clip_norm": -1.0}, "optim.clip_norm is -1.0; expected more than 0"),
        ({"data.workers": -1}, "data.workers is -1; expected at least 0"),
        ({"data.threads": 0}, "data.threads is 0; expected at least 1"),
        ({"data.augment.erase": 1.5}, "augment.erase is 1.5; expected a chance"),
        ({"data.augment.rotation": -3.0}, r"augment.rotation is -3.0; expected 0 \(none\) or more"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, settings, message):
    config.update_from_flattened_dict(settings)
    with pytest.raises(UserError, match=message if "\\" in message else re.escape(message)):
        check_settings(config)
