import json

import pytest

from configs import student
from painjax.bench import host
from painjax.console import bench_host_text
from painjax.errors import UserError


@pytest.mark.slow
def test_the_hosts_part_of_a_step():
    config = student.get_config("test")
    config.mesh.update({"data": 1, "fsdp": 8})  # of no account: every device takes rows
    result = host.main(config, steps=5)
    json.dumps(result, allow_nan=False)
    parts = [result[name] for name in ("put_batch_ms", "dispatch_ms", "guard_ms")]
    assert all(part > 0 for part in parts) and result["host_ms"] >= max(parts)
    assert result["host_cpu_ms"] > 0 and result["wait_ms"] > 0
    assert result["depth"] == config.model.depth == 2 and result["arrays"] > 100
    assert "call of the step" in bench_host_text(result)


def test_no_steps_are_refused():
    with pytest.raises(UserError, match="steps is 0"):
        host.main(student.get_config("test"), steps=0)
