"""Build step: a wheel carries configs/*.toml as tandem/default_configs/, and tandem/sets.toml.

All else is declared in pyproject.toml.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable installation reads configs/ itself
            for source, target in self.configs().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def configs(self) -> dict[str, str]:
        """Source -> target."""
        package = Path(self.build_lib) / "tandem"
        files = {file: package / "default_configs" / file.name for file in sorted(Path("configs").glob("*.toml"))}
        files[Path("sets.toml")] = package / "sets.toml"
        return {str(file): str(target) for file, target in files.items()}

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return super().get_outputs(include_bytecode) + list(self.configs().values())


setup(cmdclass={"build_py": BuildWithConfigs})
