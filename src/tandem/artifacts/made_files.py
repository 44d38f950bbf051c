"""The record of the files that the graph made: size, time stamp and digest of each, so that damage is found."""

from collections.abc import Iterable
from pathlib import Path

from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import VERSION, Made, Stamp, file_digest, read_made, stamp_of


class MadeFiles:
    """The files of one competition as they were made, by the artifact that they belong to, kept in its folder build/.

    A file is read again only where its size, time stamp or inode changed. What is not recorded counts as unchanged.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.artifacts = read_made(paths.made_files)
        self._digests: dict[tuple[str, Stamp], str] = {}
        self._damaged: dict[str, Stamp] = {}  # until they are made again
        self._to_save = False

    def why_changed(self, artifact: str) -> str:
        """Why the artifact must be made again; "" where all its files are as they were made."""
        files = self.artifacts.get(artifact, {})
        return next((why for file in files if (why := self._why(artifact, file))), "")

    def why_changed_below(self, *folders: Path) -> str:
        """The same, of all artifacts with files in these folders."""
        below = tuple(f"{self._name(folder)}/" for folder in folders)
        of = (name for name, files in self.artifacts.items() if any(file.startswith(below) for file in files))
        return next((why for artifact in of if (why := self.why_changed(artifact))), "")

    def is_changed(self, file: Path) -> bool:
        """Whether it is not what was made; False where that is not recorded."""
        name = self._name(file)
        return any(self._why(artifact, name) for artifact, files in self.artifacts.items() if name in files)

    def keep(self, artifact: str, files: Iterable[Path]) -> None:
        """Records the files of an artifact that was made; nothing where one of them is known to be damaged still."""
        before, now = self.artifacts.get(artifact, {}), {}
        for name, file in {self._name(file): file for file in files}.items():
            stamp, known = stamp_of(file), before.get(name)
            if stamp is None or self._damaged.get(name) == stamp:
                return
            now[name] = known if known and known.stamp == stamp else Made(stamp, self._digest(name, stamp))
        if now != before:
            self.artifacts[artifact], self._to_save = now, True

    def forget(self, artifact: str) -> None:
        """Called before it is made from something else: a run that is killed leaves no old digests for new files."""
        self._to_save |= self.artifacts.pop(artifact, None) is not None

    def save(self) -> None:
        """Writes the record where it changed."""
        if self._to_save:
            artifacts = {a: {file: [*m.stamp, m.digest] for file, m in f.items()} for a, f in self.artifacts.items()}
            write_json(self.paths.made_files, {"version": VERSION, "artifacts": artifacts})
            self._to_save = False

    def _why(self, artifact: str, name: str) -> str:
        made, stamp = self.artifacts[artifact][name], stamp_of(self.paths.root / name)
        if stamp == made.stamp:
            return ""
        if stamp is None:
            return f"{name} is missing"
        if stamp[0] == made.stamp[0] and self._digest(name, stamp) == made.digest:  # copied, or touched
            self.artifacts[artifact][name], self._to_save = Made(stamp, made.digest), True
            return ""
        self._damaged[name] = stamp
        return f"{name} was changed since it was made"

    def _digest(self, name: str, stamp: Stamp) -> str:
        if (name, stamp) not in self._digests:
            self._digests[name, stamp] = file_digest(self.paths.root / name)
        return self._digests[name, stamp]

    def _name(self, file: Path) -> str:
        return file.relative_to(self.paths.root).as_posix()
