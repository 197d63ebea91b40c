import json

import pytest

from configs import student, teacher
from painjax.errors import UserError
from painjax.same_experiment import as_json, check_same_experiment, check_same_origin, check_steps

ORIGIN = {
    "painjax": "1.0",
    "source_sha256": "a" * 64,
    "data_set": {"name": "pain3d/quick", "version": "2.0.0", "fingerprint": "0123"},
    "teacher_step": 100,
    "teacher_sha256": "b" * 64,
}


@pytest.fixture
def changed(tmp_path):
    """A run of the test experiment, and the same experiment with changed settings."""
    (tmp_path / "config.json").write_text(as_json(teacher.get_config("test")))

    def change(**settings):
        config = teacher.get_config("test")
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in settings.items()})
        return config, tmp_path

    return change


def test_nothing_changed(changed, tmp_path):
    assert check_same_experiment(*changed()) == {}
    assert check_same_experiment(teacher.get_config("test"), tmp_path / "new") == {}


def test_how_often_and_where_may_change(changed):
    assert check_same_experiment(*changed(log_every=7, keep_best="pspi.pcc", mesh__fsdp=2, data__data_dir="d")) == {}


def test_a_teacher_that_has_moved_is_told_by_its_hash_and_not_by_its_folder(tmp_path):
    config = student.get_config("test")
    config.teacher = "teacher"
    (tmp_path / "config.json").write_text(as_json(config))
    config.teacher = "moved"
    assert check_same_experiment(config, tmp_path) == {}
    config.teacher_outputs = "outputs"  # from one in the step to what it has said, which is rounded
    with pytest.raises(UserError, match="teacher_outputs:  -> outputs"):
        check_same_experiment(config, tmp_path)
    (tmp_path / "config.json").write_text(as_json(config))
    config.teacher_outputs = "moved_outputs"
    assert check_same_experiment(config, tmp_path) == {}


def test_what_is_computed_changes_only_when_told(changed):
    config, run = changed(batch_size=16, optim__learning_rate=0.1, log_every=7)
    with pytest.raises(UserError, match=r"(?s)batch_size: 8 -> 16.*learning_rate: 0.001 -> 0.1.*--accept_changes") as e:
        check_same_experiment(config, run)
    assert "log_every" not in str(e.value)
    accepted = check_same_experiment(config, run, accept_changes=True)
    assert accepted == {"batch_size": "8 -> 16", "optim.learning_rate": "0.001 -> 0.1"}


@pytest.mark.parametrize(
    ("name", "value"), [("model__depth", 3), ("model__neutral", "shared"), ("data__input", "image"), ("ema_decay", 0.9)]
)
def test_what_the_weights_are_never_changes(changed, name, value):
    config, run = changed(**{name: value})
    with pytest.raises(UserError) as refused:
        check_same_experiment(config, run)
    assert "--accept_changes" not in str(refused.value)
    with pytest.raises(UserError, match=f"cannot go on with other values of these:\n  {name.replace('__', '.')}: "):
        check_same_experiment(config, run, accept_changes=True)


def test_how_the_model_computes_may_be_accepted(changed):
    config, run = changed(model__dropout=0.0, model__remat="full")
    assert set(check_same_experiment(config, run, accept_changes=True)) == {"model.dropout", "model.remat"}


def test_a_run_is_made_longer_freely_where_no_schedule_stretches(changed):
    config, run = changed(steps=8)
    with pytest.raises(UserError, match="steps: 4 -> 8"):
        check_same_experiment(config, run)
    config.optim.schedule = "constant"
    (run / "config.json").write_text(json.dumps(json.loads(as_json(config)) | {"steps": 4}))
    assert check_same_experiment(config, run) == {}


def test_less_than_is_trained_is_told(tmp_path):
    check_steps(4, 4, tmp_path)
    with pytest.raises(UserError, match="trained for 8 steps already, and config.steps is 4"):
        check_steps(8, 4, tmp_path)


def test_another_data_set_is_refused_with_both_versions(tmp_path):
    now = ORIGIN | {"data_set": {"name": "pain3d/quick", "version": "2.1.0", "fingerprint": "4567"}}
    with pytest.raises(UserError, match=r"data_set: pain3d/quick 2.0.0 0123 -> pain3d/quick 2.1.0 4567"):
        check_same_origin(ORIGIN, now, tmp_path)
    assert set(check_same_origin(ORIGIN, now, tmp_path, accept_changes=True)) == {"data_set"}


def test_another_teacher_is_refused_and_other_code_mentioned(tmp_path, caplog):
    caplog.set_level("INFO")
    now = ORIGIN | {"teacher_sha256": "c" * 64, "source_sha256": "d" * 64}
    with pytest.raises(UserError, match="teacher_sha256: b+ -> c+"):
        check_same_origin(ORIGIN, now, tmp_path)
    assert check_same_origin(ORIGIN, ORIGIN | {"source_sha256": "d" * 64}, tmp_path) == {}
    assert "other code so far (PainJAX 1.0, aaaaaaaaaaaa; now 1.0, dddddddddddd)" in caplog.text


def test_what_a_teacher_has_said_in_another_dtype_is_refused(tmp_path):
    before = ORIGIN | {"teacher_outputs": "float32"}
    with pytest.raises(UserError, match="teacher_outputs: float32 -> bfloat16"):
        check_same_origin(before, ORIGIN | {"teacher_outputs": "bfloat16"}, tmp_path)


def test_checkpoints_of_an_earlier_version_say_less(tmp_path):
    assert check_same_origin({"teacher_step": 100}, ORIGIN, tmp_path) == {}
