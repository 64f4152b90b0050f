"""models.toml in, catalogue entries out: those that ship, and the user's own on top. Does not know what is running, or what a checkpoint holds.

A user's `[[model]]` adds a model, or takes the place of the one with its slug; with `extends = "slug"` it changes single fields of that one.
A version's own fields stand under `[[model.version]]`; with `extends`, a version of a known name is changed, another is added.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from emberank.contract.errors import SettingError
from emberank.contract.inference import MODALITIES, Modality, Task
from emberank.forge.bridge_sources import check_settings, is_bridged
from emberank.forge.calibration_table import calibration_table, carried_over, read_calibration
from emberank.forge.catalog import Catalog, Golden, Model, Published, Version
from emberank.forge.quality_table import quality_of_others, quality_tables, read_quality
from emberank.forge.remote_names import is_remote, remote_of
from emberank.forge.remote_settings import read_remote_settings
from emberank.forge.runtime_settings import runtime_settings
from emberank.forge.tables import Table, parse_toml, read_toml

FILE = "models.toml"
TASKS: tuple[Task, ...] = ("rank", "embed")
STATUSES = ("works", "unavailable", "not probed", "awaiting probe")

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SOURCE = re.compile(r"(preset|pypi|hf|file):\S.*|(nim|cohere):https?://\S+|nvidia_nim/\S+|litellm:[A-Za-z0-9_]+/\S+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://\S+")
_SLUG_FORM = "lower-case letters, digits and single hyphens, such as my-reranker"
_NAME_FORM = "letters, digits and . _ - : with / between publisher and name, such as acme/reranker"
_SOURCE_FORM = (
    "preset:NAME, pypi:package==version#folder, hf:publisher/name, file:/folder, "
    "or for a server that runs already nim:http://host:port, nvidia_nim/publisher/model or cohere:https://host, "
    "or litellm:provider/model for a provider that LiteLLM knows"
)


def load_catalog(data_dir: Path | None = None) -> Catalog:
    """The shipped models with the user's own file on top. Raises SettingError, which names file, entry and key."""
    models = shipped()
    if data_dir is not None:
        path = data_dir / FILE
        models = overlaid(models, read_toml(path), str(path))
    return Catalog(models)


def shipped() -> tuple[Model, ...]:
    """The models that come with this release, with what others have published about them."""
    data = files("emberank.forge").joinpath("data")
    models = overlaid((), data.joinpath(FILE).read_text("utf-8"), FILE)
    return with_published(models, data.joinpath("published.toml").read_text("utf-8"), "published.toml")


def overlaid(base: Sequence[Model], text: str, where: str) -> tuple[Model, ...]:
    """`base` with the entries of a models.toml on top, in the order in which they are first named."""
    found = {model.slug: model for model in base}
    file = parse_toml(text, where)
    entries = file.tables("model", _called)
    file.finish()
    own: set[str] = set()
    for entry in entries:
        model = _extended(entry, found) if "extends" in entry else _model(entry)
        if "extends" not in entry and model.slug in own:
            raise SettingError(f"{where}: there are two entries with the slug {model.slug!r}: take one out, or write `extends` in the second")
        own.add(model.slug)
        found[model.slug] = model
    _one_owner_each(tuple(found.values()), where)
    _check_fallbacks(found, where)
    return tuple(found.values())


def with_published(models: Sequence[Model], text: str, where: str) -> tuple[Model, ...]:
    """The models with the figures of a published.toml put to their versions."""
    found = {model.slug: model for model in models}
    file = parse_toml(text, where)
    for table in file.tables("published", lambda values, i: f"{i} ({values.get('slug', '?')})"):
        slug, name = table.text("slug"), table.text("version")
        source, day = table.text("source"), table.date("published")
        rows = tuple(_published(row, source, day) for row in table.tables("row"))
        table.finish()
        if slug not in found or name not in (version.name for version in found[slug].versions):
            raise table.wrong("slug", f"is {slug!r} and `version` {name!r}: the catalogue has no such version")
        versions = tuple(replace(version, published=rows) if version.name == name else version for version in found[slug].versions)
        found[slug] = replace(found[slug], versions=versions)
    file.finish()
    return tuple(found.values())


def model_table(model: Model) -> dict[str, Any]:
    """The entry that reads back as this model; fields at their default are left out, and so is what others published."""
    table = {name: item for name, item in _set_fields(model).items() if name not in ("versions", "golden")}
    if model.golden is not None:
        table["golden"] = _set_fields(model.golden)
    table["version"] = [_version_table(version) for version in model.versions]
    return table


def _version_table(version: Version) -> dict[str, Any]:
    table = {name: item for name, item in _set_fields(version).items() if name not in ("published", "calibration", "quality")}
    table |= {"calibration": calibration_table(version.calibration)} if version.calibration else {}
    return table | ({"quality": quality_tables(version.quality)} if version.quality else {})


def _set_fields(one: Any) -> dict[str, Any]:
    """What differs from a field's default, as TOML has it: tuples are lists."""
    found: dict[str, Any] = {}
    for field in fields(one):
        value = getattr(one, field.name)
        item = dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        if value != field.default and item not in ([], {}, None):
            found[field.name] = item
    return found


def _called(values: Mapping[str, Any], i: int) -> str:
    return repr(values.get("slug") or values.get("extends") or f"number {i}")


def _version_called(values: Mapping[str, Any], i: int) -> str:
    return repr(values.get("name", f"number {i}"))


def _one_owner_each(models: tuple[Model, ...], where: str) -> None:
    try:
        Catalog(models)
    except SettingError as cause:
        raise SettingError(f"{where}: {cause.message}") from cause


def _check_fallbacks(models: Mapping[str, Model], where: str) -> None:
    """What answers in a model's place has to be there, be another one, and do the same."""
    for model in models.values():
        for slug in model.fallbacks:
            other, at = models.get(slug), f"{where}: [[model]] {model.slug!r}: `fallbacks`"
            if other is None:
                near = ", ".join(difflib.get_close_matches(slug, models, 3, 0.5))
                raise SettingError(f"{at} names {slug!r}, and no model has that slug{f'; near it: {near}' if near else ''}")
            if other is model:
                raise SettingError(f"{at} names the model itself")
            if other.task != model.task:
                raise SettingError(f"{at} names {slug!r}, whose task is {other.task!r} and not {model.task!r}")
            if model.dimensions and other.dimensions and model.dimensions != other.dimensions:
                raise SettingError(f"{at} names {slug!r}, whose vectors have {other.dimensions} dimensions and not {model.dimensions}")


def _extended(entry: Table, known: Mapping[str, Model]) -> Model:
    """The known model with the entry's fields in the place of its own."""
    slug = entry.text("extends")
    if slug not in known:
        raise entry.wrong("extends", f"names {slug!r}; the slugs that can be extended: {', '.join(sorted(known))}")
    if "slug" in entry:
        raise entry.wrong("slug", "cannot stand beside `extends`, which says whose fields are changed; for a new model write a whole entry")
    base = known[slug]
    changes = {name: item for name, item in entry.values().items() if name not in ("extends", "version", "links")}
    versions = entry.tables("version", _version_called)
    # Another source holds other weights, so far as anybody here knows: what the old ones said of the golden example is nothing to them.
    keep = changes.pop("golden") if isinstance(changes.get("golden"), bool) else not _another_source(base, versions)
    table = {name: item for name, item in model_table(base).items() if name != "golden" or keep} | changes
    table |= {"links": {**base.links, **entry.mapping("links")}, "version": _versions(model_table(base)["version"], versions)}
    model = _model(Table(table, entry.where))
    return replace(model, versions=tuple(replace(version, published=_published_of(base, version.name)) for version in model.versions))


def _another_source(base: Model, changes: Sequence[Table]) -> bool:
    sources = {version.name: version.source for version in base.versions}
    return any("source" in change and sources.get(change.text("name"), change.text("source")) != change.text("source") for change in changes)


def _versions(known: list[dict[str, Any]], entries: Sequence[Table]) -> list[dict[str, Any]]:
    """Known versions with changes put in, new ones behind them."""
    by_name = {version["name"]: version for version in known}
    for entry in entries:
        changes = entry.values()
        old = quality_of_others(carried_over(by_name.get(entry.text("name"), {}), entry), changes)
        if isinstance(changes.get("calibration"), bool):
            del changes["calibration"]
        if "source" in changes:
            # Another source holds other files: their hashes are not the old ones.
            old = {name: item for name, item in old.items() if name != "sha256"}
        settings = {**old.get("settings", {}), **entry.mapping("settings")}
        by_name[entry.text("name")] = {**old, **changes, **({"settings": settings} if settings else {})}
    return list(by_name.values())


def _published_of(model: Model, version: str) -> tuple[Published, ...]:
    return next((one.published for one in model.versions if one.name == version), ())


def _model(entry: Table) -> Model:
    golden, links = entry.table("golden"), entry.mapping("links")
    first = entry.text("default_version", "")
    versions = [_version(table) for table in entry.tables("version", _version_called)]
    model = Model(
        slug=entry.text("slug", pattern=SLUG, form=_SLUG_FORM),
        id=entry.text("id", pattern=NAME, form=_NAME_FORM),
        title=entry.text("title"),
        description=entry.text("description", ""),
        task=entry.choice("task", TASKS),
        aliases=entry.texts("aliases", pattern=NAME, form=_NAME_FORM),
        category=entry.text("category", "General"),
        source=entry.text("source", "yours"),
        licenses=entry.texts("licenses"),
        added=entry.date("added", ""),
        tags=entry.texts("tags"),
        context_tokens=entry.whole("context_tokens", None),
        parameters=entry.whole("parameters", None),
        dimensions=entry.whole("dimensions", None),
        shorter_dimensions=entry.wholes("shorter_dimensions"),
        modalities=_modalities(entry),
        dtype=entry.text("dtype", ""),
        min_memory_gb=entry.number("min_memory_gb", None),
        links=links,
        golden=None if golden is None else _golden(golden),
        fallbacks=entry.texts("fallbacks", pattern=SLUG, form=_SLUG_FORM),
        versions=tuple(sorted(versions, key=lambda version: version.name.lower() != first.lower())),
    )
    entry.finish()
    _check_versions(entry, versions, first)
    if model.task != "rank" and any(version.calibration for version in versions):
        raise entry.wrong("version", "holds a `calibration`, which is of a reranker's scores; the task is 'embed'")
    _check_server(entry, model)
    if list(model.shorter_dimensions) != sorted(set(model.shorter_dimensions)) or any(size >= (model.dimensions or 0) for size in model.shorter_dimensions):
        raise entry.wrong("shorter_dimensions", f"has to rise, and each to be less than `dimensions`, which is {model.dimensions}")
    for title, url in links.items():
        if not _URL.fullmatch(url):
            raise entry.wrong("links", f"says {url!r} for {title!r}; it has to be a whole URL")
    return model


def _check_versions(entry: Table, versions: Sequence[Version], first: str) -> None:
    if not versions:
        raise entry.wrong("version", "is missing: write at least one [[model.version]] with `name` and `source`")
    names = [version.name.lower() for version in versions]
    if len(set(names)) < len(names):
        raise entry.wrong("version", "holds two of the same name")
    if first and first.lower() not in names:
        raise entry.wrong("default_version", f"is {first!r}; the versions are {', '.join(names)}")


def _modalities(entry: Table) -> tuple[Modality, ...]:
    found = entry.texts("modalities")
    for word in found:
        if word not in MODALITIES:
            raise entry.wrong("modalities", f"holds {word!r}; known: {', '.join(MODALITIES)}")
    return cast(tuple[Modality, ...], found) or ("text",)


def _version(table: Table) -> Version:
    version = Version(
        name=table.text("name", pattern=_VERSION, form="a short name such as v1"),
        source=table.text("source", pattern=_SOURCE, form=_SOURCE_FORM),
        head=table.choice("head", ("auto", "late_interaction"), "auto"),
        sha256=table.mapping("sha256"),
        memory_gb=table.number("memory_gb", None),
        settings=_settings(table),
        idle_after_s=table.number("idle_after_s", None),
        gpu_types=table.texts("gpu_types"),
        note=table.text("note", ""),
        calibration=read_calibration(table),
        quality=read_quality(table),
    )
    table.finish()
    for name, digest in version.sha256.items():
        if not _SHA256.fullmatch(digest):
            raise table.wrong("sha256", f"of {name!r} has to be 64 lower-case hex digits")
    return version


def _settings(table: Table) -> dict[str, str]:
    """A runtime's, or what there is to say of somebody else's server."""
    source = table.text("source")
    if not is_remote(source) and not is_bridged(source):
        return runtime_settings(table)
    found = table.mapping("settings")
    try:
        if is_bridged(source):
            check_settings(found)
        else:
            read_remote_settings(source, found)
    except SettingError as cause:
        raise table.wrong("settings", cause.message) from cause
    return found


def _check_server(entry: Table, model: Model) -> None:
    """That a remote source can be had for the model's task, wherever the environment says that NVIDIA's server stands."""
    for version in model.versions:
        if is_remote(version.source):
            if model.task == "embed" and "max_passages" in version.settings:
                raise entry.wrong("version", f"{version.name!r}: `max_passages` is of rerankers; an embedder's inputs go in one request")
            try:
                remote_of(version.source, model.task, version.settings.get("api_base", ""))
            except SettingError as cause:
                raise entry.wrong("version", f"{version.name!r} cannot be: {cause.message}") from cause


def _golden(table: Table) -> Golden:
    golden = Golden(query=table.text("query"), passages=table.texts("passages"), scores=table.numbers("scores"), tolerance=table.number("tolerance", 0.0))
    table.finish()
    if len(golden.passages) < 2:
        raise table.wrong("passages", "is missing: a golden example is at least two passages, the best one first")
    if golden.scores and len(golden.scores) != len(golden.passages):
        raise table.wrong("scores", f"has to hold one number for each of the {len(golden.passages)} passages, or none at all")
    if list(golden.scores) != sorted(golden.scores, reverse=True):
        raise table.wrong("scores", "has to fall from passage to passage: the best one stands first")
    if bool(golden.scores) != (golden.tolerance > 0):
        raise table.wrong("tolerance", "has to be a number greater than 0 where there are scores, and only there")
    return golden


def _published(row: Table, source: str, day: str) -> Published:
    published = Published(
        gpu_type=row.text("gpu_type"),
        region=row.text("region", ""),
        status=row.choice("status", STATUSES),
        source=source,
        published=day,
        memory_gb=row.number("memory_gb", None),
        cold_start_s=row.number("cold_start_s", None),
        cold_start_first_run=row.truth("cold_start_first_run"),
        model_ms_p50=row.number("model_ms_p50", None),
        model_ms_p95=row.number("model_ms_p95", None),
        model_ms_p99=row.number("model_ms_p99", None),
        n=row.whole("n", None),
        tokens_per_s=row.number("tokens_per_s", None),
    )
    row.finish()
    return published
