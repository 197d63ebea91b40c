"""The command `painjax` (also `python -m painjax`): train, precompute, evaluate, predict, report, import, export,
bench, aot, launch, doctor, and those of the generator: gallery, generate, cache.

Subcommands import their module when they run, so that `--help` and a mistyped flag answer at once. A mistake that the
user can mend is one paragraph on stderr and exit status 2; `--debug` shows where it came from.
"""

import argparse
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from painjax import arguments as command_line
from painjax import console, generator, large_pages, own_lines
from painjax.errors import Stopped, UserError

DONE, SOME_FAILED, USER_MISTAKE = 0, 1, 2
INTERRUPTED, LOST, STOPPED = (
    130,
    134,
    143,
)  # as a shell reports SIGINT, SIGABRT (by which JAX ends the rest) and SIGTERM

_GRACE_S = 3.0
_HEARTBEAT_S = 30  # without a word from a process for so long, JAX takes it for dead and ends the others
# What JAX's collectives and its coordinator have been seen to say when another process has died.
_OF_A_LOST_PROCESS = re.compile(
    r"gloo|nccl|socket closed|connection (closed|reset)|unavailable|heartbeat", re.IGNORECASE
)


def start() -> int:
    """The command `painjax` as a shell runs it."""
    large_pages.ask()
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
    except BaseException as error:
        if not _joined():
            raise
        status = SOME_FAILED
        if isinstance(error, sys.modules["jax"].errors.JaxRuntimeError) and _OF_A_LOST_PROCESS.search(str(error)):
            status = LOST
            print(
                f"painjax: another process of this job has died or cannot be reached ({str(error).splitlines()[0]}). "
                "Its own last lines say why; the same command goes on from the last checkpoint.",
                file=sys.stderr,
            )
        else:
            traceback.print_exc()
    if _joined() and status not in (DONE, STOPPED):
        # At its exit JAX would wait minutes for the other processes of the job, which wait for this one's results.
        # They find the same mistake, and need a moment to say so before JAX aborts them for the loss of this one.
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_GRACE_S)
        os._exit(status)
    return status


def _run(arguments: list[str]) -> int:
    words = generator.command_of(arguments)
    if words is not None:
        debug = "--debug" in arguments
        rest = [argument for argument in arguments[len(words) :] if argument != "--debug"]
        return _guarded(" ".join(words), debug, lambda: generator.run(words, rest) or DONE)
    options, overrides = _read(arguments)
    if not options.debug:
        own_lines.show()
    return _guarded(options.name, options.debug, lambda: COMMANDS[options.name](options, overrides))


def _guarded(name: str, debug: bool, command: Callable[[], int]) -> int:
    """The command's exit status; a mistake that the user can mend is said in a paragraph, or raised when debugging."""
    try:
        return command()
    except (UserError, OSError) as error:
        if debug:
            raise
        print(f"painjax {name}: {_mistake(error)}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        if debug:
            raise
        return INTERRUPTED


def _read(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of a subcommand, and beside them what `train` overrides, or the command that `launch` launches."""
    launched = []
    if arguments[:1] == ["launch"] and "--" in arguments:
        at = arguments.index("--")
        arguments, launched = arguments[:at], arguments[at + 1 :]
    parser = command_line.parser()
    options, rest = parser.parse_known_args(arguments)
    if options.name == "launch":
        if rest and not launched and not rest[0].startswith("-"):
            parser.error(f"put -- before the command to launch: painjax launch local --processes=2 -- {rest[0]} ...")
        if not rest:
            return options, launched
    configured = options.name in ("train", "aot") or getattr(options, "what", None) in ("host", "input")
    overrides = rest if configured else []
    if options.name == "train" and not options.dry_run:
        if options.workdir is None:
            parser.error("train needs --workdir=W, the folder of the training run; only --dry_run does without")
        if options.devices is not None:
            parser.error("--devices is for --dry_run; a training takes the devices that there are")
    if options.name == "train" and options.devices is not None and options.devices < 1:
        parser.error(f"--devices is {options.devices}; expected at least 1")
    unknown = [flag for flag in rest if flag.startswith("-") and not re.match(r"--config\.|-[\d.]", flag)]
    if unknown or (rest and not overrides):
        parser.error(f"unknown argument {(unknown or rest)[0]!r} for {options.name}; see painjax {options.name} --help")
    return options, overrides


def train(options: argparse.Namespace, overrides: list[str]) -> int:
    from painjax.config import load_config

    config = load_config(options.config, overrides)  # refused here, before JAX is loaded
    if options.check:
        from painjax.launch.check_host import check_host

        print(check_host(config))
        return DONE
    if options.dry_run:
        return _dry_run(config, options.devices)
    _join(options)
    from painjax import train as training

    try:
        step = training.main(config, options.workdir, accept_changes=options.accept_changes)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    print(f"Trained {step} steps. Next: painjax evaluate --workdir={options.workdir} --split=test")
    return DONE


def _dry_run(config: Any, devices: int | None) -> int:
    if devices is not None:
        from painjax.launch.devices import device_variables

        os.environ.update(device_variables(1, devices, os.environ | {"JAX_PLATFORMS": "cpu"})[0])
    from painjax import dry_run

    print(console.dry_run_text(dry_run.main(config)))
    return DONE


def precompute(options: argparse.Namespace, _: list[str]) -> int:
    _join(options)
    from painjax import precompute as precomputing
    from painjax.data.geometry import MOVES

    precomputing.main(
        options.workdir,
        options.split,
        options.to,
        data_name=options.data_name,
        data_dir=options.data_dir,
        dtype=options.dtype,
        flip=not options.no_flip,
        batch_size=options.batch_size,
    )
    print(
        f"Written: {options.to}. Next: painjax train --config=configs/student.py --config.teacher_outputs={options.to} "
        + " ".join(f"--config.data.augment.{name}=0" for name in MOVES)
    )
    return DONE


def evaluate(options: argparse.Namespace, _: list[str]) -> int:
    _join(options)
    from painjax import evaluate as evaluation

    result = evaluation.main(options.workdir, options.split, data_name=options.data_name, data_dir=options.data_dir)
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        print(console.evaluation_text(result))
        print(f"\nWritten: {evaluation.file_of(options.workdir, result)} and beside it")
    return DONE


def predict(options: argparse.Namespace, _: list[str]) -> int:
    from painjax import predict as prediction

    result = prediction.main(
        options.workdir,
        options.image,
        options.neutral,
        options.output,
        options.table,
        crop=options.crop,
        every=options.every,
        fps=options.fps,
        batch_size=options.batch_size,
    )
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        print(console.prediction_text(result), end="")
        if options.table:
            print(f"Written: {options.table}")
    pictures = [found for found in result["predictions"] if "frame" not in found]
    for warning in dict.fromkeys(w for found in (*pictures, *result["videos"]) for w in found["warnings"]):
        print(f"Warning: {warning}", file=sys.stderr)
    for failed in result["errors"]:
        print(f"painjax predict: {failed['error']}", file=sys.stderr)
    if result["errors"]:
        used = {found["image"] for found in result["predictions"]} | {found["video"] for found in result["videos"]}
        total = len(used | {failed["image"] for failed in result["errors"]})  # a video that breaks off is both
        print(f"painjax predict: {len(result['errors'])} of {total} files had errors.", file=sys.stderr)
        return SOME_FAILED
    return DONE


def report(options: argparse.Namespace, _: list[str]) -> int:
    from painjax import report as reporting

    path = reporting.main(options.workdir, options.compare, options.split)
    print(f"Written: {path}")
    return DONE


def import_(options: argparse.Namespace, _: list[str]) -> int:
    from painjax.weights import import_weights

    folder = import_weights(
        options.source,
        options.to,
        revision=options.revision,
        file=options.file,
        heads=options.heads,
        offline=options.offline,
    )
    print(f"Written: {folder}")
    return DONE


def export(options: argparse.Namespace, _: list[str]) -> int:
    from painjax.export import export_model

    print(f"Written: {export_model(options.source, options.to, options.format)}")
    return DONE


def bench(options: argparse.Namespace, overrides: list[str]) -> int:
    if options.what == "input":
        return _bench_input(options, overrides)
    if options.what == "host":
        return _bench_host(options, overrides)
    from painjax.bench import infer, teacher, train

    settings = {
        name: getattr(options, name) for name in ("image_size", "batch_size", "dtype", "matmul_dtype", "rounds")
    }
    settings["neutral"] = not options.no_neutral
    if options.what == "teacher":
        result = teacher.main(options.size, teacher_size=options.teacher_size, **settings)
        text = console.bench_teacher_text
    else:
        measure = {"infer": infer, "train": train}[options.what]
        result, text = measure.main(options.size, lora_rank=options.lora_rank, **settings), console.bench_text
    print(json.dumps(result, allow_nan=False) if options.json else text(result))
    return DONE


def _bench_host(options: argparse.Namespace, overrides: list[str]) -> int:
    from painjax.config import load_config

    config = load_config(options.config, overrides)
    from painjax.bench import host

    result = host.main(config)
    print(json.dumps(result, allow_nan=False) if options.json else console.bench_host_text(result))
    return DONE


def _bench_input(options: argparse.Namespace, overrides: list[str]) -> int:
    from painjax.bench import input
    from painjax.config import load_config

    result = input.main(load_config(options.config, overrides), options.rounds)
    print(json.dumps(result, allow_nan=False) if options.json else console.bench_input_text(result))
    return DONE


def aot(options: argparse.Namespace, overrides: list[str]) -> int:
    from painjax.config import load_config

    config = load_config(options.config, overrides)
    teacher = load_config(options.teacher) if options.teacher else None
    os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX is loaded: a TPU or GPU of this machine is not for compiling
    from painjax.aot import report

    per_device = options.batch_per_device
    if per_device is None and not any(flag.startswith("--config.batch_size") for flag in overrides):
        per_device = report.BATCH_PER_DEVICE
    found = report.main(options.topology, config, teacher, per_device)
    print(report.json_of(found) if options.json else report.text_of(found))
    return DONE if found["fits"] else SOME_FAILED


def launch(options: argparse.Namespace, command: list[str]) -> int:
    from painjax.launch import local

    if command and command[0] in local.DISTRIBUTED:  # its mistakes are refused once, not by every process
        inner, overrides = _read(command)
        if inner.name == "train":
            from painjax.config import load_config

            load_config(inner.config, overrides)
    return local.main(options.processes, options.devices_per_process, command, options.port)


def doctor(options: argparse.Namespace, _: list[str]) -> int:
    from painjax import doctor as examination

    checks = examination.main(options.data_dir)
    print(json.dumps([c._asdict() for c in checks]) if options.json else console.doctor_text(checks))
    return SOME_FAILED if examination.problems(checks) else DONE


COMMANDS = {
    function.__name__.rstrip("_"): function
    for function in (train, precompute, evaluate, predict, report, import_, export, bench, aot, launch, doctor)
}


def _join(options: argparse.Namespace) -> None:
    """Makes this process one of a multi-host job, before anything asks JAX for its devices."""
    if options.distributed:
        import jax

        variables = {
            "num_processes": "JAX_NUM_PROCESSES",
            "process_id": "JAX_PROCESS_ID",
        }  # the address JAX reads itself
        jax.distributed.initialize(
            **{k: int(os.environ[v]) for k, v in variables.items() if v in os.environ},
            heartbeat_timeout_seconds=_HEARTBEAT_S,
        )


def _joined() -> bool:
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def _mistake(error: UserError | OSError) -> str:
    """One paragraph; the operating system's own errors name the path, but not what to do."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return (
        f"{error.filename or 'A file'}: {error.strerror}. Check that this path is right, that you may read and write "
        "it, and that its disk is not full; --debug shows where it was needed."
    )


if __name__ == "__main__":
    sys.exit(start())
