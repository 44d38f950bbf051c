"""Code of the user's, in files `my_*.py` beside `configs/`: what names it, what it imports, what a class declares.

Files are read here, never run: `config/code_loader.py` does that.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import inputs_dir
from tandem.artifacts.user_files import SETTINGS_BYTES, read_bytes

FILE = re.compile(r"my_\w+\.py", re.ASCII)
REFERENCE = re.compile(rf"({FILE.pattern}):([A-Za-z_]\w*)", re.ASCII)
LOCATED = re.compile(rf"(?:.*/)?{REFERENCE.pattern}", re.ASCII)
CLASS_OF_SESSION = re.compile(r"[A-Za-z_]\w*", re.ASCII)
INPUTS = "inputs"  # the attribute of a class that declares what it reads
PREDICT_TERMS = "predict_terms"
SESSION: dict[str, type] = {}  # classes that `tandem.register` was called with

S = TypeVar("S", bound=BaseModel)


def check_reference(text: str) -> str:
    """Returns `text` if it is FILE.py:NAME; raises ValueError otherwise."""
    if not REFERENCE.fullmatch(text):
        raise ValueError(
            "expected my_FILE.py:NAME, of a file beside configs/: no folder, and a name that begins with my_"
        )
    return text


Reference = Annotated[str, AfterValidator(check_reference)]


@dataclass(frozen=True)
class Declared:
    """What a class says of itself.

    inputs    what it reads, as keys of its experiment
    explains  it has `predict_terms`
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    explains: bool = False


def declared(root: Path, model: str) -> Declared:
    """What the class `model`, FILE.py:CLASS of the folder `root` or a registered name, declares; raises ValueError
    with file and line where there is no such class, or where its inputs are not a literal."""
    if model in SESSION:
        return Declared(getattr(SESSION[model], INPUTS, {}), hasattr(SESSION[model], PREDICT_TERMS))
    if (match := REFERENCE.fullmatch(model)) is None:
        known = f", or a class that tandem.register was called with: {sorted(SESSION)}" if SESSION else ""
        raise ValueError(f"{model!r} is not my_FILE.py:CLASS{known}")
    return _declared(root, *match.groups())


def _declared(root: Path, name: str, wanted: str) -> Declared:
    """Follows names that are imported from other files, and base classes."""
    file, tree = root / name, parse(root / name)
    imported = {
        alias.asname or alias.name: (f"{node.module}.py", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and FILE.fullmatch(f"{node.module}.py")
        for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if wanted in imported:
        return _declared(root, *imported[wanted])
    if wanted not in classes:
        there = ", ".join(classes) or "none"
        raise ValueError(f"{file} has no class {wanted!r}; its classes: {there}")
    own = classes[wanted]
    bases = [b.id for b in own.bases if isinstance(b, ast.Name) and (b.id in imported or b.id in classes)]
    inherited = [_declared(root, name, base) for base in bases if base != wanted]
    inputs = next((one.inputs for one in inherited if one.inputs), {})
    for name_, value in _assigned(own.body):
        if name_ == INPUTS:
            inputs = _literal(value, file)
    methods = {node.name for node in own.body if isinstance(node, ast.FunctionDef)}
    return Declared(inputs, PREDICT_TERMS in methods or any(one.explains for one in inherited))


def _assigned(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _literal(value: ast.expr, file: Path) -> dict[str, Any]:
    try:
        found = ast.literal_eval(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        example = '{"image": {}, "captions": True}'
        raise ValueError(f"{file}, line {value.lineno}: inputs: expected a dictionary written out, such as {example}")
    return found


def parse(file: Path) -> ast.Module:
    """Raises ValueError with the line where it is not valid Python, FileNotFoundError where it does not exist."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; write it beside configs/, or delete what names it")
    if file.resolve().is_relative_to(inputs_dir(file.parent).resolve()):
        raise ValueError(f"{file} is a link to {file.resolve()}: files below input/ are not run; copy it here")
    try:
        return ast.parse(read_bytes(file, SETTINGS_BYTES), str(file))
    except SyntaxError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}") from error


def code_files(root: Path, references: Iterable[str]) -> tuple[str, ...]:
    """Names of the files in `root` that these references name, and of all files `my_*.py` that those import.

    Raises ValueError where one imports another file of `root`: a change of that one would not be noticed.
    """
    found: set[str] = set()
    todo = [match[1] for one in references if (match := LOCATED.fullmatch(one))]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for module, line in _imports(parse(root / name)):
            if FILE.fullmatch(f"{module}.py"):
                todo += [f"{module}.py"] if (root / f"{module}.py").is_file() else []
            elif module not in sys.stdlib_module_names and (root / f"{module}.py").is_file():
                raise ValueError(
                    f"{root / name}, line {line}: imports {module}.py; a file of yours that it needs must be called "
                    f"my_*.py, so that a change of it is noticed: rename it to my_{module}.py"
                )
    return tuple(sorted(found))


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(top-level module, line) of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node.lineno


def imported_modules(root: Path, files: Iterable[str]) -> set[str]:
    """Top-level modules that these files of `root` import."""
    return {module for name in files for module, _ in _imports(parse(root / name))}


def session_digests(references: Iterable[str]) -> dict[str, str]:
    """By "class NAME": the digest of the source of each registered class that is among the references."""
    return {f"class {name}": digest(inspect.getsource(SESSION[name])) for name in references if name in SESSION}


def references(value: object) -> Iterator[str]:
    """Every FILE.py:NAME in a section and the sections in it."""
    if isinstance(value, str):
        yield from [value] if LOCATED.fullmatch(value) else []
    elif isinstance(value, BaseModel | dict):
        for _, part in value.items() if isinstance(value, dict) else value:
            yield from references(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from references(part)


def located_code(section: S, root: Path) -> S:
    """The section with whole paths in its references: their files are in the folder `root`."""
    return _changed(section, lambda reference: str(root / reference))


def _changed(section: S, change: Callable[[str], str]) -> S:
    update: dict[str, Any] = {}
    for name, value in section:
        if isinstance(value, str) and LOCATED.fullmatch(value):
            update[name] = change(value)
        elif isinstance(value, BaseModel):
            update[name] = _changed(value, change)
    return section.model_copy(update=update)


def in_sections(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a TOML file with `augment = "my_models.py:augment"` as key of the section [augment], also where it
    is written above all sections or in [train].

    >>> in_sections({"augment": "my_a.py:f", "train": {"lr": 0.1}})
    {'augment': {'augment': 'my_a.py:f'}, 'train': {'lr': 0.1}}
    """
    given, train = values.get("augment"), values.get("train")
    if isinstance(given, str):
        return values | {"augment": {"augment": given}}
    if isinstance(train, dict) and "augment" in train and isinstance(given, dict | None):
        rest = {key: value for key, value in train.items() if key != "augment"}
        return values | {"augment": (given or {}) | {"augment": train["augment"]}, "train": rest}
    return values
