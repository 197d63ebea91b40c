"""The script for TPU slices, with a gcloud that records what it is asked; and its worker's part, for real."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "launch" / "tpu_vm"
SLICE = ["--type=v5litepod-16", "--zone=us-west4-a"]
TRAIN = ["--", "train", "--config=configs/teacher.py", "--workdir=../bucket/runs/a teacher"]

# Writes down its arguments. `states` holds what 'describe' answers, one after the other, the last one for ever; a line
# 'error: ...' is a refusal. `refuse` holds a word of the command and what it is refused with.
GCLOUD = r"""#!/bin/bash
cd "$(dirname "$0")"
printf '%q ' "$@" >> calls; echo >> calls
case " $* " in
  *" describe "*)
    line=$(head -n 1 states)
    [[ $(wc -l < states) -gt 1 ]] && sed -i 1d states
    [[ $line == error:* ]] && { echo "ERROR: (gcloud) ${line#error: }" >&2; exit 1; }
    echo "$line"; exit ;;
esac
[[ -e refuse ]] || exit 0
read -r word message < refuse
[[ " $* " == *" $word "* ]] && { echo "ERROR: (gcloud) $message" >&2; exit 1; }
exit 0
"""


class Cloud:
    """A folder with a gcloud that does as it is told."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "gcloud").write_text(GCLOUD)
        (folder / "gcloud").chmod(0o755)
        self.states("ACTIVE")

    def states(self, *states):
        (self.folder / "states").write_text("".join(f"{state}\n" for state in states))

    def refuse(self, word, message):
        (self.folder / "refuse").write_text(f"{word} {message}\n")

    def calls(self):
        """Argument lists, in their order."""
        path = self.folder / "calls"
        return [shlex.split(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self):
        return [call[3] for call in self.calls()]

    def run(self, *arguments, path=None):
        environment = os.environ | {"PATH": path or f"{self.folder}:{os.environ['PATH']}", "TPU_POLL_S": "0"}
        environment.pop("TPU_ZONE", None)
        return subprocess.run(
            ["bash", FOLDER / "tpu_vm.sh", *arguments], env=environment, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def cloud(tmp_path):
    (tmp_path / "bin").mkdir()
    return Cloud(tmp_path / "bin")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck: apt-get install shellcheck")
def test_shellcheck_finds_nothing():
    scripts = sorted(FOLDER.glob("*.sh"))
    assert len(scripts) == 2
    result = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert all("\nset -euo pipefail\n" in script.read_text() for script in scripts)


def test_up_asks_waits_installs_and_runs(cloud):
    cloud.states("error: NOT_FOUND: no such resource", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")
    result = cloud.run("up", "pain-1", *SLICE, "--project=p", "--spot", "--bucket=gs://b/", *TRAIN)
    assert result.returncode == 0, result.stderr
    assert cloud.verbs() == ["describe", "create", "describe", "describe", "describe", "scp", "ssh", "ssh", "ssh"]
    calls = cloud.calls()
    assert calls[1] == [
        "compute", "tpus", "queued-resources", "create", "pain-1", "--zone=us-west4-a", "--project=p",
        "--node-id=pain-1", "--accelerator-type=v5litepod-16", "--runtime-version=v2-alpha-tpuv5-lite", "--spot",
    ]  # fmt: skip
    assert all("--worker=all" in call for call in calls[5:])
    assert calls[5][5:7] == ["pain-1:painjax.tar.gz", "--zone=us-west4-a"]
    install, start = (shlex.split(call[-1].removeprefix("--command=")) for call in calls[7:])
    assert install == ["bash", "painjax/launch/tpu_vm/worker.sh", "install", "b"]
    assert start == ["bash", "painjax/launch/tpu_vm/worker.sh", "start", *TRAIN[1:]]  # the space too
    assert "delete pain-1 --zone=us-west4-a --project=p" in result.stdout


def test_every_flag_is_one_that_gcloud_has(cloud):
    """Against the command definitions of an installed Google Cloud SDK, without calling it."""
    gcloud = shutil.which("gcloud")
    sdk = Path(gcloud).resolve().parents[1] / "lib" if gcloud else None
    surface = sdk and sdk / "surface/compute/tpus/queued_resources/create.yaml"
    if not surface or not surface.exists():
        pytest.skip("needs the Google Cloud SDK, whose definitions of commands it reads")
    create = surface.read_text()
    names = dict(re.findall(
        r"^(\w+):(?: &\w+)?\n(?:  .*\n)*?  arg_name: (\S+)",
        (sdk / "googlecloudsdk/command_lib/compute/tpus/queued_resources/flags.yaml").read_text(), re.M,
    ))  # fmt: skip
    known = {f"--{names[name]}" for name in re.findall(r"queued_resources\.flags:(\w+)", create) if name in names}
    cloud.states("error: NOT_FOUND", "ACTIVE")
    cloud.run("create", "pain-1", *SLICE, "--spot", "--valid-until=6h")
    used = {flag.split("=")[0] for flag in cloud.calls()[1] if flag.startswith("--")} - {"--zone", "--project"}
    assert used == {"--node-id", "--accelerator-type", "--runtime-version", "--spot", "--valid-until-duration"}
    assert used <= known


def test_dry_run_prints_every_command_and_runs_none(cloud):
    result = cloud.run("--dry-run", "up", "pain-1", *SLICE, "--spot", "--bucket=b", *TRAIN)
    assert result.returncode == 0, result.stderr
    assert cloud.calls() == []
    printed = [shlex.split(line) for line in result.stdout.splitlines() if line.startswith("gcloud ")]
    assert [line[4] for line in printed] == ["create", "describe", "scp", "ssh", "ssh", "ssh"]
    cloud.states("error: NOT_FOUND", "ACTIVE")
    cloud.run("up", "pain-1", *SLICE, "--spot", "--bucket=b", *TRAIN)
    really = [call for call in cloud.calls()[1:] if "scp" not in call]  # which names a temporary file
    assert really == [line[1:] for line in printed if "scp" not in line]
    assert cloud.run("--dry-run", "delete", "pain-1", "--zone=z", path="/usr/bin:/bin").returncode == 0


def test_a_slice_that_was_preempted_is_asked_for_again(cloud):
    cloud.states("SUSPENDED", "ACTIVE")
    result = cloud.run("up", "pain-1", *SLICE, "--spot", *TRAIN)
    assert result.returncode == 0, result.stderr
    assert cloud.verbs()[:4] == ["describe", "delete", "create", "describe"]
    assert "--force" in cloud.calls()[1]


def test_a_slice_that_is_there_is_not_asked_for_twice(cloud):
    result = cloud.run("create", "pain-1", *SLICE)
    assert result.returncode == 0 and "pain-1 exists already: ACTIVE" in result.stdout
    assert cloud.verbs() == ["describe"]


@pytest.mark.parametrize(
    ("word", "refusal", "advice"),
    [
        ("create", "RESOURCE_EXHAUSTED: Quota limit 'TPUV5sPreemptibleLitepod' has been exceeded.", "iam-admin/quotas"),
        ("create", "PERMISSION_DENIED: Cloud TPU API has not been used", "services enable tpu.googleapis.com"),
        ("create", "You do not currently have an active account selected.", "gcloud auth login"),
        ("create", "There is no more capacity in the zone", "another --zone"),
        ("create", "INVALID_ARGUMENT: something new", "see above"),
    ],
)
def test_refusals_are_shown_with_advice(cloud, word, refusal, advice):
    cloud.states("error: NOT_FOUND")
    cloud.refuse(word, refusal)
    result = cloud.run("up", "pain-1", *SLICE, *TRAIN)
    assert result.returncode == 2
    assert refusal in result.stderr and advice in result.stderr.splitlines()[-1]
    assert cloud.verbs() == ["describe", "create"]  # and nothing after it


def test_what_is_missing_is_named(cloud):
    cloud.states("error: NOT_FOUND: resource was not found")
    cloud.refuse("delete", "NOT_FOUND: Resource 'pain-1' was not found")
    for command in ("wait", "delete"):
        result = cloud.run(command, "pain-1", "--zone=z")
        assert result.returncode == 2
        assert "There is no pain-1 in z" in result.stderr


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (["WAITING_FOR_RESOURCES", "FAILED"], "Google could not give pain-1"),
        (["PROVISIONING", "SUSPENDING"], "preempted or deleted. Nothing since the last checkpoint"),
        (["error: PERMISSION_DENIED: no"], "role TPU Admin"),
    ],
)
def test_waiting_ends_when_there_is_nothing_to_wait_for(cloud, states, message):
    cloud.states(*states)
    result = cloud.run("wait", "pain-1", "--zone=z")
    assert result.returncode == 2
    assert message in result.stderr


def test_a_preemption_while_running_says_how_to_resume(cloud):
    cloud.states("SUSPENDED")
    cloud.refuse("ssh", "connection closed")
    result = cloud.run("logs", "pain-1", "--zone=z")
    assert result.returncode == 2
    assert "pain-1 is SUSPENDED: it was preempted or deleted" in result.stderr and "up pain-1 ..." in result.stderr


def test_what_goes_wrong_half_way_reminds_of_the_slice_that_costs_money(cloud):
    cloud.states("error: NOT_FOUND", "ACTIVE")
    cloud.refuse("scp", "connection closed")
    result = cloud.run("up", "pain-1", *SLICE, *TRAIN)
    assert result.returncode == 2
    assert "pain-1 stays, and costs money" in result.stderr.splitlines()[-1]
    assert result.stderr.rstrip().endswith("delete pain-1 --zone=us-west4-a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly", "pain-1", "--zone=z"], "unknown command fly"),
        (["create", "--zone=z"], "the NAME of the slice is ''"),
        (["create", "Pain_1", "--zone=z"], "the NAME of the slice is 'Pain_1'"),
        (["create", "pain-1"], "no zone"),
        (["create", "pain-1", "--zone=z"], "no --type"),
        (["create", "pain-1", "--zone=z", "--type=v99-8"], "add --runtime="),
        (["create", "pain-1", "--zone", "z"], "unknown option --zone; options are written --option=value"),
        (["create", "pain-1", "train", "--zone=z"], "too many words: train; the command of painjax stands after --"),
        (["run", "pain-1", "--zone=z"], "after -- stands ''; expected train or evaluate"),
        (["run", "pain-1", "--zone=z", "--", "bash"], "after -- stands 'bash'"),
        (["run", "pain-1", "--zone=z", "--", "train", "--workdir=gs://b/x"], "not gs:// addresses. Mount the bucket"),
    ],
)
def test_mistakes_are_refused_before_gcloud_is_called(cloud, arguments, message):
    result = cloud.run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert cloud.calls() == []


def test_without_gcloud_it_says_where_to_get_it(cloud, tmp_path):
    (tmp_path / "tools").mkdir()
    for tool in ("bash", "cat", "dirname"):
        (tmp_path / "tools" / tool).symlink_to(shutil.which(tool))
    result = cloud.run("wait", "pain-1", "--zone=z", path=str(tmp_path / "tools"))
    assert result.returncode == 2
    assert "gcloud is not installed: cloud.google.com/sdk" in result.stderr


# ---------------------------------------------------------------- the worker's part


@pytest.fixture
def worker(tmp_path):
    """A copy of the project on a 'worker', whose painjax does as PAINJAX_DOES says."""
    project = tmp_path / "painjax"
    (project / "launch" / "tpu_vm").mkdir(parents=True)
    (project / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(FOLDER / "worker.sh", project / "launch" / "tpu_vm")
    painjax = project / ".venv" / "bin" / "painjax"
    painjax.write_text('#!/bin/bash\necho "painjax $*"\neval "$PAINJAX_DOES"\n')
    painjax.chmod(0o755)

    def run(*arguments, does="", watch="30"):
        environment = os.environ | {"HOME": str(tmp_path), "PAINJAX_DOES": does, "PAINJAX_WATCH_S": watch}
        script = project / "launch" / "tpu_vm" / "worker.sh"
        return subprocess.run(
            ["bash", script, *arguments], env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )

    yield run
    pid = tmp_path / "painjax-run" / "pid"
    if pid.exists():
        try:
            os.kill(int(pid.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_a_worker_trains_and_is_asked_about_it(worker):
    assert "no training has ended here" in worker("status").stdout
    assert "no log" in worker("logs").stdout
    result = worker("start", "train", "--workdir=a b")
    assert result.returncode == 0 and result.stdout.endswith(": finished\n")
    assert worker("logs").stdout == "painjax train --workdir=a b --distributed\n"


def test_a_training_that_fails_at_once_says_so_at_once(worker):
    began = time.monotonic()
    result = worker("start", "train", does="echo 'no data set here'; exit 2")
    assert result.returncode == 2 and time.monotonic() - began < 15
    assert "failed with status 2" in result.stdout and result.stdout.endswith("no data set here\n")


def test_a_training_goes_on_by_itself_and_stops_when_told(worker):
    does = 'trap "echo saved; exit 143" TERM; echo step 1; while true; do sleep 0.1; done'
    started = worker("start", "train", does=does, watch="1")
    assert started.returncode == 0 and ": running, process" in started.stdout and started.stdout.endswith("step 1\n")
    again = worker("start", "train", does=does, watch="1")
    assert again.returncode == 2 and "is running already" in again.stderr
    assert "stopped, and saved" in worker("stop").stdout
    assert worker("logs").stdout.endswith("saved\n")
    assert "no training is running" in worker("stop").stdout
