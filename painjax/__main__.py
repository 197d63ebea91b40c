"""The command `painjax` (also `python -m painjax`): train, evaluate, predict, report.

Subcommands import their module when they run, so that `--help` and a mistyped flag answer at once. A mistake that the
user can mend is one paragraph on stderr and exit status 2; `--debug` shows where it came from.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging

import painjax
from painjax.errors import UserError
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

DONE, SOME_FAILED, USER_MISTAKE, INTERRUPTED, STOPPED = 0, 1, 2, 130, 143  # as a shell reports SIGINT and SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    overrides = rest if options.command is train else []
    unknown = [flag for flag in rest if flag.startswith("-") and not flag.startswith("--config.")]
    if unknown or (rest and not overrides):
        parser.error(f"unknown argument {(unknown or rest)[0]!r} for {options.name}; see painjax {options.name} --help")
    if not options.debug:
        _log_our_own_lines()
    try:
        return options.command(options, overrides)
    except (UserError, OSError) as error:
        if options.debug:
            raise
        print(f"painjax {options.name}: {_mistake(error)}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        if options.debug:
            raise
        return INTERRUPTED


def train(options: argparse.Namespace, overrides: list[str]) -> int:
    from painjax.config import load_config

    config = load_config(options.config, overrides)  # refused here, before JAX is loaded
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
        print(_evaluation_text(result))
        print(f"\nWritten: {Path(options.workdir) / 'evaluation.json'}")
    return DONE


def predict(options: argparse.Namespace, _: list[str]) -> int:
    from painjax import predict as prediction

    result = prediction.main(options.workdir, options.image, options.neutral, options.output)
    if options.json:
        print(json.dumps(result, allow_nan=False))
    elif result["predictions"]:
        print(_prediction_text(result["predictions"]))
    for found in result["predictions"]:
        for warning in found["warnings"]:
            print(f"Warning: {warning}", file=sys.stderr)
    for failed in result["errors"]:
        print(f"painjax predict: {failed['error']}", file=sys.stderr)
    if result["errors"]:
        total = len(result["errors"]) + len(result["predictions"])
        print(f"painjax predict: {len(result['errors'])} of {total} images could not be used.", file=sys.stderr)
        return SOME_FAILED
    return DONE


def report(options: argparse.Namespace, _: list[str]) -> int:
    from painjax import report as reporting

    path = reporting.main(options.workdir, options.compare, options.split)
    print(f"Written: {path}")
    return DONE


def _join(options: argparse.Namespace) -> None:
    """Makes this process one of a multi-host job, before anything asks JAX for its devices."""
    if options.distributed:
        import jax

        variables = {
            "num_processes": "JAX_NUM_PROCESSES",
            "process_id": "JAX_PROCESS_ID",
        }  # the address JAX reads itself
        jax.distributed.initialize(**{k: int(os.environ[v]) for k, v in variables.items() if v in os.environ})


def _mistake(error: UserError | OSError) -> str:
    """One paragraph; the operating system's own errors name the path, but not what to do."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return (
        f"{error.filename or 'A file'}: {error.strerror}. Check that this path is right, that you may read and write "
        "it, and that its disk is not full; --debug shows where it was needed."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="painjax",
        description="Train, evaluate and use models that read pain from faces. For research: not a medical device.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"painjax {painjax.__version__}")
    commands = parser.add_subparsers(dest="name", metavar="command", required=True)

    def command(function, help, example):
        sub = commands.add_parser(
            function.__name__, help=help, description=help, allow_abbrev=False,
            epilog=f"Example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(command=function)
        sub.add_argument("--workdir", required=True, metavar="W", help="folder of the training run")
        sub.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
        return sub

    distributed = (
        "one process of many: join the others (Slurm, GKE and TPU pods are recognised; elsewhere set "
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID)"
    )
    sub = command(
        train,
        "Train an experiment; go on from its last checkpoint if there is one.",
        "painjax train --config=configs/student.py --config.teacher=runs/teacher --workdir=runs/student",
    )
    sub.add_argument("--distributed", action="store_true", help=distributed)
    sub.add_argument("--config", required=True, metavar="FILE", help="experiment; --config.key=value changes a setting")

    sub = command(
        evaluate,
        "Measure a trained model on a split; writes W/evaluation.json.",
        "painjax evaluate --workdir=runs/student --split=test",
    )
    sub.add_argument("--distributed", action="store_true", help=distributed)
    sub.add_argument("--split", default="test", help="split of the data set (default: test)")
    sub.add_argument("--json", action="store_true", help="print exactly one JSON object")

    sub = command(
        predict,
        "Predict PSPI and action units of pictures.",
        "painjax predict --workdir=runs/student --image=face.jpg --neutral=calm.jpg --output=overlays",
    )
    sub.add_argument("--image", required=True, metavar="PATH", help="jpg, png or webp file, or a folder of them")
    sub.add_argument("--neutral", metavar="FILE", help="picture of the same person at rest, same view")
    sub.add_argument("--output", metavar="DIR", help="folder for overlay pictures of heatmap and attention")
    sub.add_argument("--json", action="store_true", help="print exactly one JSON object")

    sub = command(
        report,
        "Write W/report.html: numbers, pictures and plots in one self-contained file.",
        "painjax report --workdir=runs/student --compare runs/teacher runs/student_supervised",
    )
    sub.add_argument(
        "--compare", action="extend", nargs="+", default=[], metavar="W", help="other runs to set beside it"
    )
    sub.add_argument("--split", default="test", help="split of the data set (default: test)")
    return parser


def _evaluation_text(result: dict[str, Any]) -> str:
    reference = "with neutral reference" if result["headline"] == "with_neutral" else "without neutral reference"
    names = ["mae", "rmse", "pcc", "icc", *(f"auroc@{k}" for k in PSPI_THRESHOLDS)]
    constant = result["baselines"]["constant"]
    lines = [
        f"{result['checkpoint']} at step {result['step']}, split {result['split']}: {result['n']} frames of "
        f"{result['identities']} identities, {reference}",
        "",
        f"{'PSPI':20}" + "".join(f"{name:>9}" for name in names),
    ]
    for protocol, summary in result["protocols"].items():
        lines.append(f"{protocol.replace('_', ' '):20}" + "".join(_number(summary["pspi"][name]) for name in names))
    lines.append(f"{'best constant':20}" + "".join(_number(constant.get(name)) for name in names))
    lines += ["", f"{'action unit':20}" + "".join(f"{name:>12}" for name in ("mae", "const. mae", "pcc", "icc"))]
    for name in AU_NAMES:
        unit = result["aus"][name]
        values = (unit["mae"], constant["aus"][name]["mae"], unit["pcc"], unit["icc"])
        lines.append(f"{name:20}" + "".join(_number(value, 12) for value in values))
    return "\n".join(lines)


def _prediction_text(predictions: list[dict[str, Any]]) -> str:
    width = max(5, *(len(Path(found["image"]).name) for found in predictions))
    lines = [f"{'image':{width}}{'PSPI':>7}" + "".join(f"{name:>7}" for name in AU_NAMES) + "  P(PSPI>=1)"]
    for found in predictions:
        lines.append(
            f"{Path(found['image']).name:{width}}{found['pspi']:7.2f}"
            + "".join(f"{found['aus'][name]:7.2f}" for name in AU_NAMES)
            + f"{found['thresholds']['pspi>=1']:12.2f}"
        )
    lines.append("\nPSPI 0..16; AU43 0..1, other action units 0..5. An estimate for research, not a diagnosis.")
    return "\n".join(lines)


def _number(value: float | None, width: int = 9) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.3f}"


def _log_our_own_lines() -> None:
    """Lines that this package logs go to stderr; of its libraries, errors only: they warn about each other."""
    package = str(Path(painjax.__file__).parent)
    flags.FLAGS(["painjax"])  # else absl says at every line that flags are not parsed
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(lambda r: r.levelno >= 40 or r.pathname.startswith(package))


if __name__ == "__main__":
    sys.exit(main())
