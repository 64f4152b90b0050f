"""A model and a pin in, the wish it means out, and why a wish cannot be granted. Pure; knows no endpoint.

Unknown versions, GPUs and regions are refused with the known ones; a target that nothing here can run, with the reason and the alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable

from emberank.contract.errors import BadRequest, NotFound, TargetUnavailable
from emberank.contract.fleet import ModelRow, TargetRow, VersionRow, Wish
from emberank.dialects.forge import ANYWHERE, Pin


def wish_of(model: ModelRow, pin: Pin) -> Wish:
    """What is wished for, in the catalogue's own words; without a version the model's first. Raises NotFound and BadRequest, which list what is known."""
    if pin is ANYWHERE and model.versions:
        return Wish(slug=model.slug, version=model.versions[0].name)
    version = _version(model, pin.version)
    gpu_type = _known("gpu_type", pin.gpu_type, {row.gpu_type: None for row in version.targets}, model, version)
    region = _known("region", pin.region, {row.region: None for row in version.targets}, model, version)
    wish = Wish(slug=model.slug, version=version.name, gpu_type=gpu_type, region=region)
    if not rows_of(version, wish):
        raise BadRequest(f"{gpu_type} in {region} is no target of '{model.slug}' {version.name}; its targets: {listed(version.targets)}")
    return wish


def _version(model: ModelRow, name: str | None) -> VersionRow:
    if not model.versions:
        raise TargetUnavailable(f"'{model.slug}' has no version that can be run", status=503)
    if name is None:
        return model.versions[0]
    for version in model.versions:
        if version.name.casefold() == name.casefold():
            return version
    raise NotFound(f"'{model.slug}' has no version '{name[:80]}'; its versions: {', '.join(version.name for version in model.versions)}")


def _known(field: str, given: str | None, known: Iterable[str], model: ModelRow, version: VersionRow) -> str | None:
    if given is None:
        return None
    for name in known:
        if name.casefold() == given.casefold():
            return name
    raise BadRequest(
        f"{field} '{given[:80]}' is not known for '{model.slug}' {version.name}; known: {', '.join(known) or 'none'}; its targets: {listed(version.targets)}"
    )


def rows_of(version: VersionRow, wish: Wish) -> list[TargetRow]:
    """The version's targets that the wish allows, in order of preference."""
    return [row for row in version.targets if wish.gpu_type in (None, row.gpu_type) and wish.region in (None, row.region)]


def runnable(model: ModelRow, wish: Wish) -> list[TargetRow]:
    """The targets on which the wish can be granted. Raises TargetUnavailable, with why and what else there is, when there are none."""
    version = _version(model, wish.version)
    rows = rows_of(version, wish)
    found = [row for row in rows if row.runnable]
    if found:
        return found
    pinned = wish.gpu_type is not None or wish.region is not None
    where = listed(rows) if pinned and rows else "any target"
    why = "; ".join(dict.fromkeys(row.reason for row in rows if row.reason)) or "no pool of this installation provides it"
    others = [row for row in version.targets if row.runnable]
    instead = f"it can run on {listed(others)}, or without gpu_type and region where it is best" if others else "it can run nowhere in this installation"
    # A pin is the caller's to change; without one nothing that they send would help.
    raise TargetUnavailable(f"'{model.slug}' {version.name} cannot run on {where} here: {why}; {instead}", status=409 if pinned else 503)


def listed(rows: Iterable[TargetRow]) -> str:
    """Targets for a person."""
    return ", ".join(f"{row.gpu_type} in {row.region}" for row in rows) or "none"
