"""What is written is the message that TFDS itself would write, and TFDS reads it."""

import dataclasses

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from data_gen import tf_example
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig
from data_gen.generate import identity_examples
from data_gen.generator_config import GeneratorConfig
from data_gen.record import BACKDROP, LABELS, PORTRAIT, png
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig

CONFIG = GeneratorConfig("procedural", 16, texture_size=16)
DIFFUSION = DiffusionConfig("org/model", "org/depth", backdrop=InpaintConfig())
SAMPLES = {np.bool_: True, np.int32: np.int32(-3), np.uint64: np.uint64(2**63 - 5), np.float32: np.float32(0.1)}


def features(folder, generator):
    config = Pain3dConfig(name="small", description="small", identities=1, generator=generator)
    return Builder(config=config, data_dir=folder).info.features


def written(folder, generator, example):
    """By us, after it is known to be what TFDS writes."""
    ours, fields = tf_example.serialize(example, LABELS), features(folder, generator)
    theirs = fields.serialize_example(example)
    assert tf_example_pb2.Example.FromString(ours) == tf_example_pb2.Example.FromString(theirs) and len(ours) == len(
        theirs
    )
    return fields.deserialize_example_np(ours)


@pytest.mark.parametrize("plan", ["pain", "distractors", "clips"])
def test_examples_are_those_that_tfds_writes(tmp_path, plan):
    generator = dataclasses.replace(CONFIG, plan=plan)
    for _, example in identity_examples(generator, 0)[::5]:
        read = written(tmp_path, generator, example)
        assert read["seed"] == example["seed"] and read["image"].shape == (16, 16, 3)
        np.testing.assert_array_equal(read["landmarks"], example["landmarks"])


def test_what_is_painted_is_told_too(tmp_path):
    """Texts, also empty ones and those of other scripts, and numbers of every kind."""
    generator = dataclasses.replace(CONFIG, texture_backend="diffusion", diffusion=DIFFUSION)
    (_, example), *_ = identity_examples(CONFIG, 0)
    for name, fields in (("portrait", PORTRAIT), ("backdrop", BACKDROP)):
        example[name] = {
            field: ("" if field == "faults" else f"{field} März 🙂") if kind is str else SAMPLES[kind]
            for field, kind in fields.items()
        }
    example["backdrop"]["kept"] = png(np.eye(16))
    read = written(tmp_path, generator, example)
    assert read["portrait"]["prompt"].decode() == "prompt März 🙂" and read["portrait"]["faults"] == b""
    assert read["portrait"]["seed"] == 2**63 - 5 and read["backdrop"]["tries"] == -3


def test_the_bytes_of_a_small_message():
    """By hand, from the encoding's documentation: 300 is AC 02, and -1 ten bytes."""
    message = tf_example.serialize({"a": {"b": 300}, "c": np.int32(-1)}, {})
    first = b"\x0a\x03a/b" + b"\x12\x06\x1a\x04\x0a\x02\xac\x02"
    second = b"\x0a\x01c" + b"\x12\x0e\x1a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x01"
    entries = b"\x0a" + bytes([len(first)]) + first + b"\x0a" + bytes([len(second)]) + second
    assert message == b"\x0a" + bytes([len(entries)]) + entries


def test_what_cannot_be_stored_is_named():
    with pytest.raises(ValueError, match="kind is 'joy'; expected one of neutral, pain"):
        tf_example.serialize({"kind": "joy"}, LABELS)
    with pytest.raises(TypeError, match="view/yaw is of type float64; expected float32"):
        tf_example.serialize({"view": {"yaw": 0.5}}, LABELS)
