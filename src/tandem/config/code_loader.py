"""Runs the user's Python files, and says where in them an error is."""

import builtins
import hashlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from tandem.artifacts.user_files import SETTINGS_BYTES, read_bytes
from tandem.config.own_code import FILE, SESSION, code_files

_LOADED: dict[str, ModuleType] = {}  # by digest of the place and the content of a file and all that it imports


class OwnCodeError(ValueError):
    """An error in the user's code; the message names file and line."""


def load_object(reference: str) -> Any:
    """The class or function FILE.py:NAME, or the registered class of this name; a file that was changed is run anew.

    Raises OwnCodeError where the file can't be run or has no such name."""
    if reference in SESSION:
        return SESSION[reference]
    place, _, name = reference.rpartition(":")
    if not place:
        raise OwnCodeError(
            f"class {name!r} was registered in another process; write it to a file beside configs/ and name it "
            f'model = "my_models.py:{name}"'
        )
    module = load_module(Path(place))
    if not hasattr(module, name):
        raise OwnCodeError(f"{place} has no {name!r}")
    return getattr(module, name)


def load_module(file: Path) -> ModuleType:
    """The module of a file `my_*.py`, which may import others beside it; of unchanged files the same module."""
    names = code_files(file.parent, [f"{file.name}:_"])
    content = hashlib.sha256(str(file.resolve()).encode())
    for name in names:
        content.update(hashlib.sha256(read_bytes(file.parent / name, SETTINGS_BYTES)).digest())
    key = content.hexdigest()[:16]
    if key not in _LOADED:
        _LOADED[key] = _Folder(file.parent, key).module(file.stem)
    return _LOADED[key]


class _Folder:
    """Modules of one folder, apart from those of the same names in other folders, and from sys.path."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key, self.modules = folder, key, dict[str, ModuleType]()

    def module(self, name: str) -> ModuleType:
        if name not in self.modules:
            whole = f"tandem_own_{self.key}.{name}"
            self.modules[name] = new_module(whole)
            self.modules[name].__dict__["__builtins__"] = vars(builtins) | {"__import__": self._import}
            sys.modules[whole] = self.modules[name]  # dataclasses and inspect look there
            run_file(self.folder / f"{name}.py", self.modules[name])
        return self.modules[name]

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if not level and FILE.fullmatch(f"{name}.py") and (self.folder / f"{name}.py").is_file():
            return self.module(name)
        return builtins.__import__(name, globals, locals, fromlist or (), level)


def new_module(name: str) -> ModuleType:
    return module_from_spec(spec_from_loader(name, loader=None))  # type: ignore[arg-type]


def run_file(file: Path, module: ModuleType) -> ModuleType:
    """Runs the file as the content of the module; raises OwnCodeError with file and line."""
    module.__file__ = str(file)
    with own_errors(str(file)):  # compiled here: importlib would run a .pyc that lies beside it
        exec(compile(read_bytes(file, SETTINGS_BYTES), str(file), "exec"), module.__dict__)
    return module


@contextmanager
def own_errors(what: str, more: str = "") -> Iterator[None]:
    """Any exception becomes an OwnCodeError: the innermost line of the user's files, `what`, the exception, `more`."""
    try:
        yield
    except OwnCodeError:
        raise
    except SyntaxError as error:
        raise OwnCodeError(f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}") from error
    except Exception as error:
        lines = [f"{f.filename}, line {f.lineno}" for f in traceback.extract_tb(error.__traceback__) if _is_own(f)]
        place = lines[-1] if lines else what
        named = "" if place.startswith(f"{what},") or place == what else f"{what}: "
        raise OwnCodeError(f"{place}: {named}{type(error).__name__}: {error}{more}") from error


def _is_own(frame: traceback.FrameSummary) -> bool:
    return bool(FILE.fullmatch(Path(frame.filename).name))


def defined_at(thing: Callable[..., Any] | type) -> str:
    """ "my_models.py, line 3" of a function or class; its name where it has no source."""
    import inspect

    try:
        function = inspect.unwrap(thing)
        code = getattr(function, "__code__", None)
        if code is not None:
            return f"{code.co_filename}, line {code.co_firstlineno}"
        return f"{inspect.getsourcefile(function)}, line {inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return getattr(thing, "__name__", repr(thing))
