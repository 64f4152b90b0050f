"""Puts the documentation into the package that is built: docs/**/*.md become emberank/documentation. Everything else is said in pyproject.toml.

A package that is installed to be edited has nothing put into it: the documentation is read where it stands then.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE, INSIDE = Path("docs"), Path("emberank", "documentation")


class BuildWithDocumentation(build_py):
    """setuptools' own, and then the texts."""

    def run(self) -> None:
        """Copy the texts; what an older build left there goes."""
        super().run()
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / INSIDE, ignore_errors=True)
            for text, built in self._texts().items():
                self.mkpath(str(built.parent))
                self.copy_file(str(text), str(built))

    def get_source_files(self) -> list[str]:
        """With the texts, so that a source distribution has them."""
        return [*super().get_source_files(), *map(str, self._texts())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """With the texts."""
        return [*super().get_outputs(include_bytecode), *map(str, self._texts().values())]

    def get_output_mapping(self) -> dict[str, str]:
        """Where each comes from; the texts are not part of it in a package that is edited."""
        copied = {} if self.editable_mode else {str(built): str(text) for text, built in self._texts().items()}
        return {**super().get_output_mapping(), **copied}

    def _texts(self) -> dict[Path, Path]:
        return {text: Path(self.build_lib) / INSIDE / text.relative_to(SOURCE) for text in sorted(SOURCE.rglob("*.md"))}


setup(cmdclass={"build_py": BuildWithDocumentation})
