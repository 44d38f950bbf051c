"""`[tune]` in an experiment's TOML: the values that `make tune` may give to a setting."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.config.base_experiment import BaseExperiment
from tandem.config.toml_files import merged

FIXED = ("kind", "base", "seed", "seeds", "tuned", "pseudo")  # no settings, or such that no search should choose
FORM = "expected {low = 1e-4, high = 1e-2, log = true} or a list of values"

Value = float | int | str | bool
Make = Callable[[dict[str, Any], Path], Any]  # make_experiment, which this module can't import


@dataclass(frozen=True)
class Span:
    """Numbers from low to high, both included; `log`: each factor is equally likely."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class SearchSpace:
    """What may be tried instead of the settings of one file.

    path    the experiment's file
    values  of the file merged into its base, without [tune]
    ranges  by dotted key, such as train.lr
    """

    path: Path
    values: dict[str, Any]
    ranges: dict[str, Span | tuple[Value, ...]]
    make: Make

    @classmethod
    def of(cls, values: dict[str, Any], path: Path, make: Make) -> "SearchSpace":
        """Raises ValueError with the file and the key where a range is none, or a value that its setting can't have."""
        plain, tune = {key: value for key, value in values.items() if key != "tune"}, values.get("tune", {})
        if not isinstance(tune, dict):
            raise ValueError(f'{path}: tune: expected a section of keys such as "train.lr", got {tune!r:.80}')
        experiment = make(plain, path)
        ranges = {key: _read_range(experiment, key, given, path) for key, given in _flat(tune)}
        space = cls(path, plain, ranges, make)
        for key, span in ranges.items():
            for value in (span.low, span.high) if isinstance(span, Span) else span:
                space._check(experiment, key, value)
        return space

    def experiment(self, chosen: Mapping[str, Value]) -> Any:
        """The experiment with these values; raises ValueError where they do not go together."""
        return self.make(merged(self.values, nested(chosen)), self.path)

    def _check(self, untuned: BaseExperiment, key: str, value: Value) -> None:
        try:
            changed = self.experiment({key: value})
        except ValueError as error:
            raise ValueError(f"{self.path}: tune.{key}: {value!r} is no valid value: {error}") from error
        if changed.encoders != untuned.encoders:
            raise ValueError(
                f"{self.path}: tune.{key}: changes the frozen features, which are computed once for all trials; "
                "tune settings of the model and its training, and make an experiment for each encoder"
            )


def _flat(section: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, range): "train.lr" in quotes and [tune.train] with lr are the same."""
    for name, given in section.items():
        if isinstance(given, dict) and not {"low", "high"} & given.keys():
            yield from _flat(given, f"{within}{name}.")
        else:
            yield within + name, given


def nested(values: Mapping[str, Value]) -> dict[str, Any]:
    """Dotted keys as sections.

    >>> nested({"train.lr": 0.1, "train.ema": 0.9, "size": 64})
    {'train': {'lr': 0.1, 'ema': 0.9}, 'size': 64}
    """
    out: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        part = out
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    return out


def current_value(experiment: object, key: str) -> Any:
    """The setting of this dotted key; raises KeyError where there is none."""
    found = experiment
    for name in key.split("."):
        if isinstance(found, Mapping):
            found = found[name]
        elif name in getattr(type(found), "model_fields", {}):
            found = getattr(found, name)
        else:
            raise KeyError(name)
    return found


def _read_range(experiment: BaseExperiment, key: str, given: Any, path: Path) -> Span | tuple[Value, ...]:
    where = f"{path}: tune.{key}"
    try:
        now = current_value(experiment, key)
    except KeyError:
        raise ValueError(f"{where}: the experiment has no such setting") from None
    if key.split(".")[0] in FIXED:
        raise ValueError(f"{where}: can't be tuned")
    if isinstance(given, list):
        return _read_choices(given, where)
    if not isinstance(given, dict):
        raise ValueError(f"{where}: {FORM}, got {given!r:.80}")
    return _read_span(given, now, where)


def _read_choices(given: list, where: str) -> tuple[Value, ...]:
    if len(given) < 2 or len(set(map(repr, given))) < len(given):
        raise ValueError(f"{where}: expected two or more different values, got {given!r:.80}")
    if other := [value for value in given if not isinstance(value, Value)]:
        raise ValueError(f"{where}: expected numbers, texts or true and false, got {other[0]!r:.80}")
    return tuple(given)


def _read_span(given: dict[str, Any], now: Any, where: str) -> Span:
    if unknown := given.keys() - {"low", "high", "log"}:
        raise ValueError(f"{where}: unknown key {sorted(unknown)[0]!r}; {FORM}")
    low, high, log = given.get("low"), given.get("high"), given.get("log", False)
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if low is None or high is None or not numbers or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{where}: low and high must be numbers, got {given!r:.80}")
    if isinstance(now, bool) or not isinstance(now, int | float):
        raise ValueError(f"{where}: the setting is {now!r:.40}, no number: give a list of values")
    if isinstance(now, int) and not (isinstance(low, int) and isinstance(high, int)):
        raise ValueError(f"{where}: the setting is a whole number, so low and high must be, got {low} and {high}")
    if low >= high:
        raise ValueError(f"{where}: low must be less than high, got {low} and {high}")
    if not isinstance(log, bool) or (log and low <= 0):
        raise ValueError(f"{where}: log must be true or false, and true only with low above 0, got {given!r:.80}")
    return Span(low, high, log) if isinstance(now, int) else Span(float(low), float(high), log)
