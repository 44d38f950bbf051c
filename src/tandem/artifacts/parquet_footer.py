"""What the footer of a parquet file claims, read without pyarrow: where a footer is damaged, pyarrow's own way to the
claims of a column ends the process, as it does not catch the errors of its C++ code.

The footer is a FileMetaData of https://parquet.apache.org/docs/file-format/metadata in Thrift's compact protocol,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from dataclasses import dataclass
from typing import Any

TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
DEEPEST = 32  # structs and lists in one another; a footer has 8
TRUE, FALSE, BYTE, INT16, INT32, INT64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


@dataclass(frozen=True)
class Claim:
    """Of one column in one row group: a name of TYPES, number of values, bytes before compression."""

    kind: str
    values: int
    size: int


def row_groups(footer: bytes) -> list[tuple[int, list[Claim]]]:
    """(rows, claims of its columns) of each row group; raises ValueError where the bytes are no footer."""
    try:
        found = [_row_group(group) for group in _Reader(footer).struct(0).get(4, [])]
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("a damaged footer") from error
    if any(rows < 0 or claim.values < 0 or claim.size < 0 for rows, claims in found for claim in claims):
        raise ValueError("a damaged footer")
    return found


def _row_group(group: dict[int, Any]) -> tuple[int, list[Claim]]:
    columns = [column[3] for column in group[1]]
    return int(group[3]), [Claim(TYPES[about[1]], int(about[5]), int(about[6])) for about in columns]


class _Reader:
    """Values of the compact protocol, one after another; raises IndexError at the end of the bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def struct(self, depth: int) -> dict[int, Any]:
        """{number of the field: its value}."""
        if depth > DEEPEST:
            raise ValueError("a damaged footer")
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind in (INT16, INT32, INT64):
            return self._integer()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in (LIST, SET) and depth < DEEPEST:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(self._possible(count))]
        if kind == MAP and depth < DEEPEST:
            count = self._possible(self._varint())
            kinds = self._byte() if count else 0
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(count)]
        raise ValueError("a damaged footer")

    def _possible(self, count: int) -> int:
        """The number of values to come, of which each takes a byte at least."""
        if count > len(self.content) - self.at:
            raise IndexError(count)
        return count

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        start = self.at
        self.at += self._possible(count)
        return self.content[start : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a damaged footer")
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
