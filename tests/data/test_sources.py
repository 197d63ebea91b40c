import io
import re
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from painjax.data.sources import FrameSource
from painjax.errors import UserError
from painjax.pspi import pspi


def test_a_frame_has_the_fields_asked_for_and_exact_labels(synthetic_dataset):
    source = FrameSource("pain3d/quick", "train", ("image", "heatmap"), str(synthetic_dataset))
    assert len(source) == 40
    frame = source[7]
    assert set(frame) == {"image", "heatmap", "aus", "pspi", "identity", "index"}
    assert frame["image"].shape == (32, 32, 3) and frame["image"].dtype == np.uint8
    assert frame["heatmap"].shape == (32, 32, 1) and frame["heatmap"].dtype == np.uint8
    assert frame["aus"].dtype == np.float32 and frame["index"] == 7
    assert frame["pspi"] == pspi(frame["aus"])


def test_pixels_are_those_that_tfds_and_pillow_decode(synthetic_dataset):
    source = FrameSource("pain3d/quick", "test", ("image", "neutral_image", "heatmap"), str(synthetic_dataset))
    folder = synthetic_dataset / "pain3d/quick/1.0.0"
    theirs = tfds.builder_from_directory(folder).as_data_source("test")
    raw = tfds.builder_from_directory(folder).as_data_source("test", decoders={"image": tfds.decode.SkipDecoding()})
    for i in (0, 9):
        for field in ("image", "neutral_image", "heatmap"):
            np.testing.assert_array_equal(source[i][field], theirs[i][field])
        np.testing.assert_array_equal(source[i]["image"], np.asarray(Image.open(io.BytesIO(raw[i]["image"]))))


def test_images_that_a_data_set_may_lack(synthetic_dataset):
    source = FrameSource("pain3d/quick", "test", ("image",), str(synthetic_dataset), if_there=("heatmap", "depth"))
    assert {"image", "heatmap"} < set(source[0]) and "depth" not in source[0]


def test_a_licensed_data_set_is_built_from_a_folder_of_the_users(tmp_path):
    with pytest.raises(UserError, match="tfds build tfds_builders/unbc --config=fold_0 --manual_dir=DIR --data_dir="):
        FrameSource("unbc/fold_0", "train", ("image",), str(tmp_path))


@pytest.mark.parametrize("name", ["pain3d/nothing", "nobody/quick"])
def test_a_data_set_that_is_not_built_says_how_to_build_it(synthetic_dataset, name):
    base, config = name.split("/")
    with pytest.raises(UserError, match=f"tfds build tfds_builders/{base} --config={config}") as error:
        FrameSource(name, "train", ("image",), str(synthetic_dataset))
    assert len(str(error.value)) < 600  # TFDS lists every data set it knows


def test_a_missing_shard_is_noticed_at_once(synthetic_dataset, tmp_path):
    shutil.copytree(synthetic_dataset, tmp_path / "copy")
    (shard,) = (tmp_path / "copy").rglob("*train*array_record*")
    shard.unlink()
    with pytest.raises(UserError, match=f"incomplete.*{re.escape(shard.name)}"):
        FrameSource("pain3d/quick", "train", ("image",), str(tmp_path / "copy"))
    assert len(FrameSource("pain3d/quick", "test", ("image",), str(tmp_path / "copy"))) == 10


def test_an_unknown_field_or_split_lists_what_there_is(synthetic_dataset):
    with pytest.raises(UserError, match="no field depth.*neutral_image"):
        FrameSource("pain3d/quick", "train", ("depth",), str(synthetic_dataset))
    with pytest.raises(UserError, match="no split 'val'.*validation"):
        FrameSource("pain3d/quick", "val", ("image",), str(synthetic_dataset))
