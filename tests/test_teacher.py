"""What a training says of its teacher."""

import json

import pytest

from configs import student
from painjax.teacher import note_other_data

HERE = {"name": "pain3d/quick", "version": "3.0.1", "fingerprint": "ab"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, False),
        ({"version": "3.0.0"}, True),
        ({"fingerprint": "cd"}, True),
        ({"name": "pain3d/full", "version": "3.0.0", "fingerprint": "cd"}, False),  # which is meant
        (None, False),  # nobody knows
    ],
)
def test_a_teacher_of_another_version_of_the_data_set_is_told(change, told, tmp_path, caplog):
    if change is not None:
        starts = [{"data_set": HERE | {"version": "1.0.0"}}, {"data_set": HERE | change}]  # the last one counts
        (tmp_path / "starts.jsonl").write_text("".join(json.dumps(start) + "\n" for start in starts))
    config = student.get_config("test")
    config.teacher = str(tmp_path)
    note_other_data(config, HERE)
    assert ("people whom this training holds out" in caplog.text) == told
