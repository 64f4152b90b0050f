"""`emberank calibrate`: fits a model's scores to judged data, prints what that is worth, and writes it into the catalogue when asked to."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from emberank.commands.key_env import key_in
from emberank.commands.operator import add_data_dir, folder_of
from emberank.commands.own_runtime import own_runtime
from emberank.contract.errors import ModelNotFound, SettingError
from emberank.evaluate import http_scorer, require_extra
from emberank.evaluate.calibrate import CalibrationReport, calibrate
from emberank.evaluate.calibration_flags import add_calibration_flags, calibration_options
from emberank.evaluate.calibration_report import calibration_plain, calibration_table
from emberank.evaluate.scorer import Scorer
from emberank.forge.catalog import Calibration, Model, Version

HELP = "make probabilities of a reranker's scores, from judged data"
DESCRIPTION = (
    "Platt scaling on a test collection: slope and intercept for `score_mode: calibrated`, with Brier score, log loss and calibration error before and after."
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What is scored, and where the outcome goes."""
    add_calibration_flags(parser)
    parser.add_argument("--write", action="store_true", help="put it to the model's version in models.toml of the data folder")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, print, and write if that was asked."""
    from emberank.forge.own_calibrations import calibration_entry, calibration_line, write_calibration

    chosen = calibration_options(arguments)
    picked = _picked(arguments)
    if chosen.run_file is None:
        require_extra("calibrate")
        with _scorer(arguments, picked) as scorer:
            report = calibrate(chosen, scorer)
    else:
        report = calibrate(chosen, _nobody)
    made = _rounded(report, datetime.now(UTC).date().isoformat())
    lines = calibration_line(made) if picked is None else calibration_entry(picked[0].slug, picked[1].name, made)
    written = None
    if arguments.write and picked is not None:
        folder_of(arguments).mkdir(mode=0o700, parents=True, exist_ok=True)
        written = str(write_calibration(folder_of(arguments), picked[0].slug, picked[1].name, made))
    if arguments.json:
        named = {"model": picked[0].slug if picked else None, "version": picked[1].name if picked else None}
        print(json.dumps({**named, **calibration_plain(report), "toml": lines, "written": written}, indent=2, ensure_ascii=False))
        return 0
    print(calibration_table(report))
    print(
        f"\nemberank: written to {written}" if written else f"\nFor models.toml in the data folder (--write puts it there):\n\n{lines}",
        end="\n" if written else "",
    )
    return 0


def _picked(arguments: argparse.Namespace) -> tuple[Model, Version] | None:
    """The catalogue's entry that is calibrated; None where a server or a run file is calibrated that no entry was named for. Raises SettingError, ModelNotFound."""
    from emberank.forge.catalog_file import load_catalog

    catalog = load_catalog(folder_of(arguments))
    elsewhere = arguments.url is not None or arguments.run_file is not None
    if arguments.model is None and elsewhere:
        if arguments.write:
            raise SettingError("--write needs --model: the entry that the calibration is for")
        return None
    try:
        model = catalog.resolve(arguments.model) if arguments.model is not None else next(model for model in catalog if model.task == "rank")
    except ModelNotFound:
        if elsewhere and not arguments.write:
            return None
        raise
    if model.task != "rank":
        raise SettingError(f"--model: {model.slug} is an embedder, and has no scores to calibrate")
    return model, catalog.version(model, arguments.model_version)


@contextmanager
def _scorer(arguments: argparse.Namespace, picked: tuple[Model, Version] | None) -> Iterator[Scorer]:
    """Whoever scores: the server that was named, or the picked version, started as the forge would start it."""
    from emberank.forge.catalog import launch_spec

    if arguments.url is not None:
        with http_scorer(arguments.url, arguments.model, version=arguments.model_version, key=key_in(arguments.key_env)) as scorer:
            yield scorer
        return
    assert picked is not None, "without a server or a run file, an entry is always picked"
    model, version = picked
    with tempfile.TemporaryDirectory(prefix="emberank-calibrate-") as folder:
        file = Path(folder) / "model.json"
        file.write_text(json.dumps({"model": [launch_spec(model, version)]}), "utf-8")
        with own_runtime({**version.settings, "model_file": str(file)}) as url, http_scorer(url, model.id) as scorer:
            yield scorer


def _nobody(query: str, passages: Sequence[str]) -> Sequence[float]:
    raise AssertionError("with a run file nothing is scored")


def _rounded(report: CalibrationReport, today: str) -> Calibration:
    """What goes into the catalogue, with as many digits as mean something."""
    calibrated = report.figures[2]
    return Calibration(
        slope=float(f"{report.fit.slope:.5g}"),
        intercept=float(f"{report.fit.intercept:.5g}"),
        data=report.sample.sentence,
        date=today,
        prevalence=round(report.sample.prevalence, 4),
        brier=round(calibrated.brier, 4),
        ece=round(calibrated.ece, 4),
    )
