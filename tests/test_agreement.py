"""How differences are told; that processes find them: tests/test_jobs.py."""

from painjax.agreement import _differences, check_agreement


def test_one_process_agrees_with_itself():
    check_agreement({"seed": 0})


def test_only_what_differs_is_told_and_where():
    lines = _differences([{"a": 1, "b": "x" * 99}, {"a": 1, "b": "y"}, {"a": 1, "b": "y", "c": [2]}])
    assert lines == [
        'b is "' + "x" * 76 + '... on process 0, "y" on processes 1, 2',
        "c is absent on processes 0, 1, [2] on process 2",
    ]
