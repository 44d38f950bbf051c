"""The section [labels] of competition.toml: how labels are written, their names, their prompts."""

from collections import Counter
from operator import not_
from typing import Literal, Self

from pydantic import Field, model_validator

from tandem.config.questions import as_list
from tandem.config.toml_files import SHOWN, Section

PROMPT = "a photo of {}"
PLACE: dict[str, set[str]] = {  # format of labels: the keys that say where they are
    "separated": {"column", "separator"},
    "list": {"column"},
    "joined": {"columns"},
    "columns": set(),
    "long": {"column", "separator", "value"},
}


class Labels(Section):
    """How the labels of a row are written, and their names in the order of the columns of every label matrix."""

    format: Literal["separated", "list", "joined", "columns", "long"] = Field(
        description="separated or list: one column; joined: some; columns: a flag a label; long: a row per id and label"
    )
    column: str = ""  # separated, list: the column of the labels; long: of one label, "" where the id's cell ends in it
    separator: str = " "  # separated: the text between two labels; long without a column: between id and label
    columns: list[str] = []  # joined: the columns, each with one label or none
    value: str = ""  # long: the column that says whether the label is there; "" where each row is a label that is
    blank: Literal["negative", "unknown"] | None = Field(None, description="what a blank cell says: negative, unknown")
    uncertain: Literal["negative", "positive", "unknown"] | None = Field(
        None, description="what an uncertain cell (such as -1) says: negative, positive, unknown"
    )
    names: list[str] = Field(min_length=1)
    # what CLIP-like models compare images with; content keys of competitions without it stay as they are
    prompts: dict[str, str | list[str]] | list[str | list[str]] = Field(
        {}, exclude_if=not_, description="what a label looks like, in words: by label, or in the order of names"
    )
    prompt: str = Field(PROMPT, exclude_if=PROMPT.__eq__, description="of labels without one in prompts; {}: the name")

    @property
    def place(self) -> str:
        """Where the labels are, in words.

        >>> Labels(format="joined", columns=["first", "second"], names=["cat"]).place
        "in columns 'first', 'second', one in each"
        """
        columns = ", ".join(map(repr, self.table_columns))
        return {
            "separated": f"in column {self.column!r}, cut at {self.separator!r}",
            "list": f"in column {self.column!r}, as lists",
            "joined": f"in columns {columns}, one in each",
            "columns": "with a column of flags for each",
            "long": f"in a row for each id and label, by columns {columns}",
        }[self.format]

    @property
    def table_columns(self) -> list[str]:
        """The columns of the training table that hold labels."""
        one = [name for name in (self.column, self.value) if name]
        return {"joined": self.columns, "columns": self.names}.get(self.format, one)

    @property
    def without_prompt(self) -> list[str]:
        """The labels that have no prompt of their own and no letter in their name, such as "17"."""
        own = self._own_prompts()
        return [name for name in self.names if name not in own and not any(map(str.isalpha, name))]

    def each_prompts(self) -> tuple[tuple[str, ...], ...]:
        """One or more prompts of each label, in the order of the names.

        >>> Labels(format="list", column="tags", names=["traffic_light", "2"], prompts={"2": "two"}).each_prompts()
        (('a photo of traffic light',), ('two',))
        """
        own = self._own_prompts()
        return tuple(own.get(name) or (self.prompt.replace("{}", name.replace("_", " ")),) for name in self.names)

    def _own_prompts(self) -> dict[str, tuple[str, ...]]:
        given = self.prompts if isinstance(self.prompts, dict) else dict(zip(self.names, self.prompts, strict=True))
        return {name: tuple(as_list(prompts)) for name, prompts in given.items()}

    @model_validator(mode="after")
    def _prompts_fit(self) -> Self:
        if isinstance(self.prompts, list) and len(self.prompts) != len(self.names):
            raise ValueError(f"prompts: {len(self.prompts)} for {len(self.names)} names; expected one for each")
        own = self._own_prompts()
        if unknown := [name for name in own if name not in self.names]:
            raise ValueError(f"prompts: {unknown[0]!r} is not among the label names {self.names[:5]}")
        if empty := [name for name, prompts in own.items() if not prompts or not all(map(str.strip, prompts))]:
            raise ValueError(f"prompts: that of label {empty[0]!r} is empty; expected a text, or a list of texts")
        if "{}" not in self.prompt:
            raise ValueError(f"prompt = {self.prompt!r}: expected {{}} in it, where the name of a label goes")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if repeated := sorted(name for name, count in Counter(self.names).items() if count > 1):
            raise ValueError(f"label names are repeated: {repeated[:SHOWN]}")
        if self.format in ("separated", "list") and not self.column:
            raise ValueError(f"format = {self.format!r} needs column = '<the column that holds the labels>'")
        if self.format == "joined" and len(set(self.columns)) < max(2, len(self.columns)):
            raise ValueError("format = 'joined' needs columns = ['<two or more different columns of labels>']")
        if self.format == "long" and not (self.column or (self.value and self.separator)):
            raise ValueError("format = 'long' needs column, or value and the separator of id and label")
        stripped = self.format in ("separated", "joined")
        if odd := [n for n in self.names if not n or (stripped and n != n.strip())]:
            raise ValueError(f"label name {odd[0]!r} is empty, or starts or ends with a space; write it without")
        if self.format == "separated":
            if not self.separator:
                raise ValueError("format = 'separated' needs separator = '<the text between two labels>'")
            if split := [n for n in self.names if f"{n}{self.separator}{n}".split(self.separator) != [n, n]]:
                raise ValueError(f"label name {split[0]!r} contains the separator {self.separator!r}")
        return self
