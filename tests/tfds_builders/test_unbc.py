"""UNBC-McMaster from files of its layout: matched by index, split by subject, nothing hidden."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from painjax.data.sources import FrameSource
from painjax.pspi import pspi
from tests import synthetic_unbc
from tests.synthetic_unbc import SUBJECTS, write_annotations, write_folds, write_frames
from tfds_builders.unbc.annotations import ANNOTATIONS, FOLDS, FRAMES, read_annotations, read_splits
from tfds_builders.unbc.unbc_dataset_builder import Builder

ROOT = Path(__file__).resolve().parents[2]


def build(manual_dir, data_dir, fold=0):
    builder = Builder(config=f"fold_{fold}", data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The truth, the builder, and all examples by their index, with their split."""
    folder = tmp_path_factory.mktemp("unbc")
    truth = synthetic_unbc.write(folder)
    builder = build(folder, folder / "data")
    examples = {
        int(example["frame_index"]): example | {"split": split}
        for split in builder.info.splits
        for example in builder.as_data_source(split)
    }
    return truth, builder, examples


def test_every_frame_has_its_own_picture_and_labels_whatever_the_order_of_the_files(built):
    truth, _, examples = built
    assert sorted(examples) == list(range(42))
    for i, example in examples.items():
        np.testing.assert_array_equal(example["image"], truth["image"][i])
        np.testing.assert_array_equal(example["aus"], truth["aus"][i])
        assert example["pspi"] == example["pspi_label"] == truth["pspi"][i]
        assert example["identity"]["id"] == truth["person"][i]
        assert example["subject"] == f"{truth['person'][i]:03d}-ab{truth['person'][i]:03d}".encode()


def test_no_subject_is_in_two_splits(built):
    _, builder, examples = built
    people = {split: {int(e["identity"]["id"]) for e in examples.values() if e["split"] == split} for split in SPLITS}
    assert people == {"train": {42, 47, 48, 49}, "validation": {43}, "test": {52, 59}}
    recorded = json.loads((Path(builder.data_dir) / "metadata.json").read_text())
    assert {split: set(people) for split, people in recorded["subjects"].items()} == people
    assert recorded["counts"]["frames"] == 42


SPLITS = ("train", "validation", "test")


def test_the_neutral_reference_is_the_first_frame_at_rest_and_never_the_frame_itself(built):
    truth, _, examples = built
    for i, example in examples.items():
        first = 6 * (i // 6) + 2  # of each person's six frames the third and the fifth are at rest
        expected = first if i != first else first + 2
        np.testing.assert_array_equal(example["neutral_image"], truth["image"][expected])
        assert example["neutral_at_rest"]


def test_training_reads_it(built):
    _, builder, _ = built
    source = FrameSource("unbc/fold_0", "test", ("image", "neutral_image"), builder.data_dir.rsplit("/unbc/", 1)[0])
    assert len(source) == 12 and source[0]["image"].shape == (32, 32, 3)
    assert source[0]["identity"] in (52, 59) and source[0]["pspi"] == pspi(source[0]["aus"])


@pytest.fixture
def truth(tmp_path):
    return synthetic_unbc.write(tmp_path)


def test_a_person_who_is_never_at_rest_has_the_calmest_other_frame(tmp_path, truth):
    truth["aus"][6:12, 0] += 1  # subject 43
    write_annotations(tmp_path, truth, label_pspi=pspi(truth["aus"]))
    found = read_annotations(tmp_path)
    scores = pspi(truth["aus"][6:12])
    calmest, next_calmest = np.argsort(scores, kind="stable")[:2] + 6
    assert scores.min() == 1
    neutral = found.neutral()[6:12]
    np.testing.assert_array_equal(neutral, np.where(np.arange(6, 12) == calmest, next_calmest, calmest))
    assert not found.at_rest()[neutral].any() and found.at_rest()[found.neutral()[:6]].all()


def test_missing_numbers_and_contradictions_are_counted(tmp_path, truth):
    au6, au43, label = (truth["aus"][:, 1].copy(), truth["aus"][:, 5].copy(), truth["pspi"].astype(np.float64))
    au6[[0, 1]] = np.nan
    label[3] = 15.5
    label[5] = np.nan
    au43[7] = 4.0  # closed eyes, coded with an intensity
    nothing = np.full_like(au6, np.nan)
    index = np.arange(42)
    index[41] = 1000  # a label whose picture is not there
    write_annotations(
        tmp_path, truth, label_AU_6=au6, label_AU_43=au43, label_pspi=label, index=index,
    )  # fmt: skip
    found = read_annotations(tmp_path)
    expected = truth["aus"][:41].copy()
    expected[[0, 1], 1] = 0
    expected[7, 5] = 1
    np.testing.assert_array_equal(found.aus, expected)
    by_hand = [a[0] + max(a[1], a[2]) + max(a[3], a[4]) + a[5] for a in expected]
    np.testing.assert_array_equal(found.pspi, by_hand)
    np.testing.assert_array_equal(found.pspi_label, label[:41].astype(np.float32))
    different = sum(abs(a - b) > 1e-3 for a, b in zip(by_hand, label[:41], strict=True))  # NaN is no difference
    assert different >= 1
    assert found.counts == {
        "frames": 41,
        "labels without a picture, left out": 1,
        "frames without any label, left out": 0,
        "missing intensities, taken as 0": 2,
        "frames without a PSPI label": 1,
        "PSPI labels that are not the formula's value": different,
    }
    blank = {f"label_AU_{unit}": nothing.copy() for unit in (4, 6, 7, 9, 10, 43)}
    for unit, values in zip((4, 6, 7, 9, 10, 43), truth["aus"].T, strict=True):
        blank[f"label_AU_{unit}"][1:] = values[1:]
    label[0] = np.nan
    write_annotations(tmp_path, truth, label_pspi=label, **blank)
    found = read_annotations(tmp_path)
    assert found.counts["frames without any label, left out"] == 1 and found.index[0] == 1


def test_contradictions_are_said_and_kept_with_the_data_set(tmp_path, truth, caplog):
    write_annotations(tmp_path, truth, label_pspi=truth["pspi"] + (np.arange(42) < 5))
    builder = build(tmp_path, tmp_path / "data")
    assert "5 PSPI labels that are not the formula's value" in caplog.text
    recorded = tfds.builder_from_directory(builder.data_dir).info.metadata
    assert recorded["counts"]["PSPI labels that are not the formula's value"] == 5


def test_several_numbers_of_a_unit_count_as_the_largest(tmp_path, truth):
    two = np.stack([truth["aus"][:, 0], np.full(42, np.nan)], axis=1)
    two[0] = [1, 3]
    write_annotations(tmp_path, truth, label_AU_4=two)
    np.testing.assert_array_equal(read_annotations(tmp_path).aus[:, 0], [3, *truth["aus"][1:, 0]])


def test_pictures_that_are_not_square_are_filled_up(tmp_path, truth):
    truth["image"] = truth["image"][:, :20]
    write_frames(tmp_path, truth)
    example = build(tmp_path, tmp_path / "data").as_data_source("test")[0]
    assert example["image"].shape == (32, 32, 3)
    np.testing.assert_array_equal(example["image"][6:26], truth["image"][example["frame_index"]])
    assert (example["image"][:6] == 128).all() and (example["image"][26:] == 128).all()


def test_pixels_of_another_scale_are_refused(tmp_path, truth):
    truth["image"] = truth["image"] / 255
    write_frames(tmp_path, truth)
    with pytest.raises(ValueError, match=r"pixels of float64, 0\..* to .*; expected whole numbers"):
        build(tmp_path, tmp_path / "data")


def test_a_subject_on_both_sides_is_refused(tmp_path, truth):
    write_folds(tmp_path, [42, 43, 47], [47, 48])
    with pytest.raises(ValueError, match="fold-0: subjects 47 are to train and to validate"):
        build(tmp_path, tmp_path / "data")


def test_a_fold_that_is_not_there_or_has_nobody_is_refused(tmp_path, truth):
    with pytest.raises(ValueError, match="has no fold-3; it has fold-0"):
        build(tmp_path, tmp_path / "data", fold=3)
    write_folds(tmp_path, [42], [43])
    with pytest.raises(ValueError, match="expected at least two and one"):
        read_splits(tmp_path, 0)


def test_frames_of_subjects_in_no_split_are_left_out_and_counted(tmp_path, truth, caplog):
    write_folds(tmp_path, list(SUBJECTS[:-3]), [*SUBJECTS[-3:-1], 96])
    builder = build(tmp_path, tmp_path / "data")
    assert sum(split.num_examples for split in builder.info.splits.values()) == 36
    assert "6 frames of subjects that the fold does not name" in caplog.text
    assert "1 subjects of the fold that have no frame" in caplog.text


def test_an_index_that_stands_twice_is_refused(tmp_path, truth):
    index = np.arange(42)
    index[7] = 8
    write_annotations(tmp_path, truth, index=index)
    with pytest.raises(ValueError, match="annotations_unbc.* has index 8 twice"):
        read_annotations(tmp_path)


def test_intensities_off_the_scale_are_refused(tmp_path, truth):
    write_annotations(tmp_path, truth, label_AU_9=truth["aus"][:, 3] + 1)
    with pytest.raises(ValueError, match="action units from 0 to 6; expected 0 to 5"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("missing", [FRAMES, ANNOTATIONS, FOLDS])
def test_a_missing_file_is_named_with_where_to_get_it(tmp_path, truth, missing):
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {missing}\. UNBC-McMaster is licensed.*--manual_dir"):
        build(tmp_path, tmp_path / "data")


def test_without_a_folder_tfds_says_what_to_put_there(tmp_path):
    with pytest.raises(AssertionError, match="UNBC-McMaster is licensed"):
        build(tmp_path / "nowhere", tmp_path / "data")


def test_without_h5py_the_command_that_installs_it_is_named(tmp_path, truth, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'painjax\[unbc\]'"):
        build(tmp_path, tmp_path / "data")


def test_the_readme_describes_every_field(built):
    text = (ROOT / "tfds_builders/unbc/README.md").read_text()
    features = built[1].info.features
    names = {f"{name}/id" if name == "identity" else name for name in features}
    assert len(names) == 9 and not [name for name in names if f"`{name}`" not in text]
