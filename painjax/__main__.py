"""The command `painjax` (also `python -m painjax`): train, evaluate, predict, report, import, export, bench, launch,
gallery.

Subcommands import their module when they run, so that `--help` and a mistyped flag answer at once. A mistake that the
user can mend is one paragraph on stderr and exit status 2; `--debug` shows where it came from.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags, logging

import painjax
from painjax import console, generator
from painjax.errors import UserError

DONE, SOME_FAILED, USER_MISTAKE, INTERRUPTED, STOPPED = 0, 1, 2, 130, 143  # as a shell reports SIGINT and SIGTERM

_GRACE_S = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
    except BaseException:
        if not _joined():
            raise
        traceback.print_exc()
        status = SOME_FAILED
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
        _log_our_own_lines()
    return _guarded(options.name, options.debug, lambda: options.command(options, overrides))


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
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command is launch:
        if rest and not launched and not rest[0].startswith("-"):
            parser.error(f"put -- before the command to launch: painjax launch local --processes=2 -- {rest[0]} ...")
        if not rest:
            return options, launched
    overrides = rest if options.command is train else []
    unknown = [flag for flag in rest if flag.startswith("-") and not flag.startswith("--config.")]
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
    _join(options)
    from painjax import train as training

    step = training.main(config, options.workdir)
    if step < config.steps:
        print(f"Stopped at step {step} of {config.steps}; the same command goes on from there.", file=sys.stderr)
        return STOPPED
    print(f"Trained {step} steps. Next: painjax evaluate --workdir={options.workdir} --split=test")
    return DONE


def evaluate(options: argparse.Namespace, _: list[str]) -> int:
    _join(options)
    from painjax import evaluate as evaluation

    result = evaluation.main(options.workdir, options.split)
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        print(console.evaluation_text(result))
        print(f"\nWritten: {Path(options.workdir) / 'evaluation.json'}")
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


def bench(options: argparse.Namespace, _: list[str]) -> int:
    from painjax.bench import infer, train

    result = {"infer": infer, "train": train}[options.what].main(
        options.size,
        image_size=options.image_size,
        batch_size=options.batch_size,
        dtype=options.dtype,
        matmul_dtype=options.matmul_dtype,
        neutral=not options.no_neutral,
        lora_rank=options.lora_rank,
        rounds=options.rounds,
    )
    print(json.dumps(result, allow_nan=False) if options.json else console.bench_text(result))
    return DONE


def launch(options: argparse.Namespace, command: list[str]) -> int:
    from painjax.launch import local

    if command and command[0] in local.DISTRIBUTED:  # its mistakes are refused once, not by every process
        inner, overrides = _read(command)
        if inner.command is train:
            from painjax.config import load_config

            load_config(inner.config, overrides)
    return local.main(options.processes, options.devices_per_process, command, options.port)


def doctor(options: argparse.Namespace, _: list[str]) -> int:
    from painjax import doctor as examination

    checks = examination.main(options.data_dir)
    print(json.dumps([c._asdict() for c in checks]) if options.json else console.doctor_text(checks))
    return SOME_FAILED if examination.problems(checks) else DONE


def _join(options: argparse.Namespace) -> None:
    """Makes this process one of a multi-host job, before anything asks JAX for its devices."""
    if options.distributed:
        import jax

        variables = {
            "num_processes": "JAX_NUM_PROCESSES",
            "process_id": "JAX_PROCESS_ID",
        }  # the address JAX reads itself
        jax.distributed.initialize(**{k: int(os.environ[v]) for k, v in variables.items() if v in os.environ})


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


def _folder(path: str) -> str:
    if "://" in path:  # which would become a local folder called 'gs:'
        raise argparse.ArgumentTypeError(f"{path} is not a folder; mount the bucket as one, see launch/README.md")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="painjax",
        description="Train, evaluate and use models that read pain from faces. For research: not a medical device.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"painjax {painjax.__version__}")
    commands = parser.add_subparsers(dest="name", metavar="command", required=True)

    def command(function, help, example):
        name = function.__name__.rstrip("_")
        sub = commands.add_parser(
            name, help=help, description=help, allow_abbrev=False,
            epilog=f"Example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(command=function)
        sub.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
        return sub

    workdir = "folder of the training run"
    either = "folder of a training run, or of a model (painjax import)"
    distributed = (
        "one process of many: join the others (Slurm, GKE and TPU pods are recognised; elsewhere set "
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID)"
    )
    one_object = "print exactly one JSON object"

    sub = command(
        train,
        "Train an experiment; go on from its last checkpoint if there is one.",
        "painjax train --config=configs/student.py --config.teacher=runs/teacher --workdir=runs/student",
    )
    sub.add_argument("--workdir", type=_folder, required=True, metavar="W", help=workdir)
    sub.add_argument("--config", required=True, metavar="FILE", help="experiment; --config.key=value changes a setting")
    sub.add_argument("--distributed", action="store_true", help=distributed)
    sub.add_argument("--check", action="store_true", help="only say whether this host has the data set and weights")

    sub = command(
        evaluate,
        "Measure a trained model on a split; writes W/evaluation.json.",
        "painjax evaluate --workdir=runs/student --split=test",
    )
    sub.add_argument("--workdir", type=_folder, required=True, metavar="W", help=workdir)
    sub.add_argument("--split", default="test", help="split of the data set (default: test)")
    sub.add_argument("--distributed", action="store_true", help=distributed)
    sub.add_argument("--json", action="store_true", help=one_object)

    sub = command(
        predict,
        "Predict PSPI and action units of pictures and videos.",
        "painjax predict --workdir=runs/student --image=face.jpg --neutral=calm.jpg --output=overlays",
    )
    sub.add_argument("--workdir", required=True, metavar="W", help=either)
    sub.add_argument("--image", required=True, metavar="PATH", help="picture or video, or a folder of them")
    sub.add_argument(
        "--neutral", action="extend", nargs="+", default=[], metavar="PATH",
        help="pictures of the same person at rest, same view; encoded once",
    )  # fmt: skip
    sub.add_argument("--output", metavar="DIR", help="folder for overlay pictures of heatmap and attention")
    sub.add_argument("--table", metavar="FILE", help=".csv or .parquet file, one row per picture or frame")
    sub.add_argument(
        "--crop", default="centre",
        help="where the face is: 'centre' (the middle square; default), 'none' (the whole picture, padded), or "
        "'module:function', called with (H, W, 3) uint8, returning a box x0, y0, x1, y1 or None",
    )  # fmt: skip
    sub.add_argument("--every", type=int, default=1, metavar="N", help="of a video, every N-th frame")
    sub.add_argument("--fps", type=float, metavar="R", help="of a video, at most R frames per second")
    sub.add_argument("--batch_size", type=int, metavar="B", help="pictures at a time (default: as in training)")
    sub.add_argument("--json", action="store_true", help=one_object)

    sub = command(
        report,
        "Write W/report.html: numbers, pictures and plots in one self-contained file.",
        "painjax report --workdir=runs/student --compare runs/teacher runs/student_supervised",
    )
    sub.add_argument("--workdir", type=_folder, required=True, metavar="W", help=workdir)
    sub.add_argument(
        "--compare", action="extend", nargs="+", default=[], metavar="W", help="other runs to set beside it"
    )
    sub.add_argument("--split", default="test", help="split of the data set (default: test)")

    sub = command(
        import_,
        "Read public weights (timm, Hugging Face, the authors' ViTPain) and write a model folder.",
        "painjax import --from=facebook/dinov3-vits16-pretrain-lvd1689m --to=models/dinov3_s",
    )
    sub.add_argument("--from", dest="source", required=True, metavar="FILE|ID", help="file, folder, or id on the hub")
    sub.add_argument("--to", required=True, metavar="DIR", help="model folder to make")
    sub.add_argument("--revision", help="branch, tag or commit on the hub; the commit is recorded")
    sub.add_argument("--file", help="which file, where there are several")
    sub.add_argument("--heads", type=int, help="attention heads, where nothing beside the weights tells")
    sub.add_argument("--offline", action="store_true", help="take only what is already in the hub's cache")

    sub = command(
        export,
        "Write a trained model for others to use, with a model card.",
        "painjax export --from=runs/student --to=exported --format=stablehlo",
    )
    sub.add_argument("--from", dest="source", required=True, metavar="W", help=either)
    sub.add_argument("--to", required=True, metavar="DIR", help="folder to make")
    sub.add_argument(
        "--format", required=True, choices=("safetensors", "hf", "official", "stablehlo", "onnx"),
        help="safetensors: a model folder, adapters merged; hf: the encoder for transformers; official: the authors' "
        "checkpoint; stablehlo: runs with jax alone; onnx",
    )  # fmt: skip

    sub = command(
        bench,
        "Measure images per second, beside PyTorch doing the same, taking turns.",
        "painjax bench infer --size=s --image_size=224 --batch_size=8",
    )
    sub.add_argument(
        "what", choices=("infer", "train"),
        help="predicting, or whole training steps; `painjax bench generate` measures the generator and has options of "
        "its own",
    )  # fmt: skip
    sub.add_argument("--size", default="s", help="of the encoder: ti, s, b, l, ... (default: s)")
    sub.add_argument("--image_size", type=int, default=224, metavar="S", help="side in pixels (default: 224)")
    sub.add_argument("--batch_size", type=int, default=8, metavar="B", help="default: 8")
    sub.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: float32 on CPU, bfloat16 elsewhere")
    sub.add_argument(
        "--matmul_dtype", default="float32", choices=("float32", "bfloat16"),
        help="bfloat16: products of float32 arrays with rounded operands, on both sides (default: float32)",
    )  # fmt: skip
    sub.add_argument("--no_neutral", action="store_true", help="without neutral reference")
    sub.add_argument("--lora_rank", type=int, default=8, metavar="R", help="0: none, everything trains (default: 8)")
    sub.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each side (default: 5)")
    sub.add_argument("--json", action="store_true", help=one_object)

    sub = command(
        launch,
        "Run train or evaluate in several processes of this machine, as on several hosts.",
        "painjax launch local --processes=2 -- train --config=configs/teacher.py --workdir=runs/teacher",
    )
    sub.usage = "painjax launch local --processes N [--devices-per-process N] [--port P] -- train|evaluate ..."
    sub.add_argument("where", choices=("local",), help="on this machine; for clusters see launch/README.md")
    sub.add_argument("--processes", type=int, required=True, metavar="N", help="how many processes")
    sub.add_argument(
        "--devices-per-process", type=int, default=1, metavar="N",
        help="virtual CPU devices, or GPUs where there are, of each (default: 1)",
    )  # fmt: skip
    sub.add_argument("--port", type=int, metavar="P", help="of the coordinator (default: a free one)")

    sub = commands.add_parser("gallery", help="Draw contact sheets of what a configuration of the data set generates.")
    sub.set_defaults(command=None)  # `generator.command_of` has found it, unless something stands before it

    sub = command(
        doctor,
        "Look at what is installed and what this machine offers; says how to mend what is missing.",
        "painjax doctor",
    )
    sub.add_argument("--data_dir", metavar="DIR", help="where data sets lie (default: TFDS_DATA_DIR)")
    sub.add_argument("--json", action="store_true", help="print exactly one JSON array")
    return parser


def _log_our_own_lines() -> None:
    """Lines that this package logs go to stderr; of its libraries, errors only: they warn about each other."""
    package = str(Path(painjax.__file__).parent)
    flags.FLAGS(["painjax"])  # else absl says at every line that flags are not parsed
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(lambda r: r.levelno >= 40 or r.pathname.startswith(package))


if __name__ == "__main__":
    sys.exit(main())
