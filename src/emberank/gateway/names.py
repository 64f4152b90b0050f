"""A model's name as some caller writes it in, the model out. Knows no endpoint and no wire.

The rules are the runtime's (case, and `.`, `_`, `-` for one another; the name without its publisher), and LiteLLM's `ranking/` in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emberank.contract.fleet import ModelRow
from emberank.contract.inference import InputType, Task
from emberank.gateway.errors import UnknownModel

# What clients send when no model was chosen: infinity_client has a default of its own.
UNNAMED = {"", "default", "default/not-specified"}
_SUFFIXES: tuple[InputType, ...] = ("query", "passage")


def plain(name: str) -> str:
    """A name without the differences clients make of it (llama-3_2 = llama-3.2)."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


class Names:
    """The models of one snapshot by every name they answer to."""

    def __init__(self, models: Sequence[ModelRow] = ()) -> None:
        self._models = tuple(models)
        self._found: dict[str, dict[Task, ModelRow]] = {}
        for model in models:
            self._add(model, (*model.names, model.slug, model.id))
        for model in models:  # after all full names: a name without its publisher never hides one that was given
            self._add(model, [name.rpartition("/")[2] for name in model.names])

    def _add(self, model: ModelRow, names: Sequence[str]) -> None:
        for name in names:
            self._found.setdefault(plain(name), {}).setdefault(model.task, model)

    def __iter__(self) -> Iterator[ModelRow]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def resolve(self, name: str | None, task: Task, only: Sequence[str] = ()) -> ModelRow:
        """The model for `task` under that name; without a name the first for it. Raises UnknownModel, which names those in `only`, if it holds any slug."""
        if name is None or name in UNNAMED:
            for model in self._models:
                if model.task == task and (not only or model.slug in only):
                    return model
        found = self._get(name or "", task)
        if found is None:
            theirs = [model.id for model in self._models if model.task == task and (not only or model.slug in only)]
            raise UnknownModel(name or "", theirs, next(iter(self._lookup(name or "")), ""))
        return found

    def resolve_embedder(self, name: str | None, only: Sequence[str] = ()) -> tuple[ModelRow, InputType | None]:
        """As `resolve`, and NIM's suffixes: `<name>-query` and `<name>-passage` say the input type for clients that cannot."""
        if name is not None and self._get(name, "embed") is None:
            for suffix in _SUFFIXES:
                base = self._get(name.removesuffix(f"-{suffix}"), "embed") if name.endswith(f"-{suffix}") else None
                if base is not None:
                    return base, suffix
        return self.resolve(name, "embed", only), None

    def of_any_task(self, name: str, only: Sequence[str] = ()) -> ModelRow:
        """The model of that name, whatever it does. Raises UnknownModel, as `resolve` does."""
        found = self._lookup(name)
        if not found:
            raise UnknownModel(name, [model.slug for model in self._models if not only or model.slug in only])
        return next(iter(found.values()))

    def _get(self, name: str, task: Task) -> ModelRow | None:
        return self._lookup(name).get(task)

    def _lookup(self, name: str) -> dict[Task, ModelRow]:
        key = plain(name)
        return self._found.get(key) or self._found.get(key.removeprefix("ranking/")) or {}
