"""A name as some caller writes it in, the served model out. Knows no wire: names only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emberank.contract.errors import ModelNotFound, NotReady
from emberank.contract.inference import InputType, Task
from emberank.runtime.model import ServedModel

# What clients send when no model was chosen: infinity_client has a default of its own.
UNNAMED = {"", "default", "default/not-specified"}


def plain(name: str) -> str:
    """A name without the differences clients make of it: case, and `.`, `_`, `-` for one another (llama-3_2 = llama-3.2)."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


class Roster:
    """The served models by every name they answer to. Empty until loading is done."""

    def __init__(self, models: Sequence[ServedModel] = ()) -> None:
        self._models = tuple(models)
        self._names: dict[str, dict[Task, ServedModel]] = {}
        for model in self._models:
            for name in (model.name, *model.spec.aliases, model.name.rpartition("/")[2]):
                self._names.setdefault(plain(name), {}).setdefault(model.task, model)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def names(self, task: Task | None = None) -> tuple[str, ...]:
        """Served names, in order; only those for `task` when given."""
        return tuple(model.name for model in self._models if task in (None, model.task))

    def named(self, name: str) -> ServedModel:
        """The model of any task with that name; raises ModelNotFound."""
        found = self._names.get(plain(name))
        if not found:
            raise ModelNotFound(name, self.names())
        return next(iter(found.values()))

    def resolve(self, name: str | None, task: Task) -> ServedModel:
        """The model for `task` under that name, or the first one when no name is given. Raises ModelNotFound, NotReady."""
        if not self._models:
            raise NotReady("no model is loaded yet", retry_after_s=1)
        if name is None or name in UNNAMED:
            for model in self._models:
                if model.task == task:
                    return model
        found = self._names.get(plain(name or ""), {}).get(task)
        if found is None:
            raise ModelNotFound(name or "", self.names(task), next(iter(self._names.get(plain(name or ""), {})), ""))
        return found

    def resolve_embedder(self, name: str | None) -> tuple[ServedModel, InputType | None]:
        """As `resolve`, and NIM's suffixes: `<name>-query` and `<name>-passage` say the input type for clients that cannot."""
        suffixes: tuple[InputType, ...] = ("query", "passage")
        for suffix in suffixes:
            ending = f"-{suffix}"
            if name is not None and name.endswith(ending) and not self._names.get(plain(name), {}).get("embed"):
                base = self._names.get(plain(name.removesuffix(ending)), {}).get("embed")
                if base is not None:
                    return base, suffix
        return self.resolve(name, "embed"), None
