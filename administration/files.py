"""Files that administrators import and export: JSON, or CSV as a spreadsheet saves it."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import AfterValidator, ValidationError

from administration.errors import AdministrationError
from directory.completeness import is_blank
from directory.documents import Model

FORMULA = "=+-@＝＋－＠\t\r\n"
"""Characters that begin a formula in a spreadsheet, or that it skips before one."""
SEPARATORS = ",;\t\r\n"
"""Characters at which some spreadsheets begin another cell, even inside quotes."""

MOST_LINES = 20_000
"""The most lines of a CSV file."""

_BEGINNING = rf"(?:\A|(?<=[{SEPARATORS}]))"
_LIKE_A_FORMULA = re.compile(rf"{_BEGINNING}(?=['\"]*[{re.escape(FORMULA)}])")
"""Also after quotes, which a reader may remove, and after apostrophes, so that `_meant` recognises
every apostrophe that `as_csv` added."""
_GUARDED = re.compile(rf"{_BEGINNING}'(?=['\"]*[{re.escape(FORMULA)}])")


def _says_something(text: str) -> str:
    if is_blank(text):
        raise ValueError("it must hold more than white space")
    return text


NOT_BLANK = AfterValidator(_says_something)
"""Validates a text that names something: white space alone is not a name."""


class Row(Mapping[str, str]):
    """One row of a CSV file: its values by column, and the line that it ends on."""

    def __init__(self, values: Mapping[str, str], line: int) -> None:
        self._values = values
        self.line = line

    def __getitem__(self, column: str) -> str:
        return self._values[column]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def is_json(content: bytes) -> bool:
    """Whether the file is JSON; otherwise it is CSV."""
    return content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def read_json[M: Model](model: type[M], content: bytes, what: str) -> M:
    """A JSON file as this model. Raises AdministrationError that says where the fault is."""
    try:
        return validated(model, orjson.loads(content.removeprefix(b"\xef\xbb\xbf")), what)
    except orjson.JSONDecodeError as error:
        raise AdministrationError(
            f"{what} cannot be read: line {error.lineno} is not JSON ({error.msg})."
        ) from None


def validated[M: Model](
    model: type[M], value: Any, what: str, lines: Sequence[int] | None = None
) -> M:
    """A value as this model; `lines` are the line numbers of a list's elements in a CSV file.
    Raises AdministrationError that says where the fault is."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise AdministrationError(f"{what} cannot be read: {_faults(error, lines)}") from None


def _faults(error: ValidationError, lines: Sequence[int] | None = None) -> str:
    """Where the faults are and what they are, such as `entitlements.3.key: Field required`."""

    def path(steps: tuple[int | str, ...]) -> str:
        if lines and len(steps) > 1 and isinstance(steps[1], int):
            steps = (f"line {lines[steps[1]]}", *steps[2:])
        return ".".join(str(step) for step in steps) or "the file"

    return "; ".join(
        f"{path(one['loc'])}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False)[:5]
    )


def refuse_long(what: str, number: int, most: int, of_what: str) -> None:
    """Raises AdministrationError where a file holds more than `most` of something."""
    if number > most:
        raise AdministrationError(
            f"{what} has {number:,} {of_what}; at most {most:,} are imported at once. Divide it "
            "into several files."
        )


def read_csv(content: bytes, columns: Sequence[str], what: str) -> list[Row]:
    """The rows of a CSV file in UTF-8 whose first line names at least these columns, separated by
    commas, semicolons or tabs. It reads what `as_csv` writes. Raises AdministrationError, also for
    more than MOST_LINES."""
    refuse_long(what, content.count(b"\n"), MOST_LINES, "lines")
    try:
        # Not splitlines(): it also breaks at what is part of a text, such as U+2028.
        lines = io.StringIO(content.decode("utf-8-sig"), newline="").readlines()
    except UnicodeDecodeError:
        raise AdministrationError(f"{what} is not UTF-8: save it as 'CSV UTF-8'.") from None
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    known = {column.casefold(): column for column in columns}
    rows: list[Row] = []
    try:
        header = [known.get(name.strip().casefold(), "") for name in next(reader, [])]
        missing = [column for column in columns if column not in header]
        if missing:
            raise AdministrationError(
                f"{what} cannot be read: the first line must name the columns "
                f"{', '.join(columns)}; it lacks {', '.join(missing)}."
            )
        for cells in reader:
            named = zip(header, cells, strict=False)
            values = {name: _meant(cell.strip()) for name, cell in named if name}
            if any(values.values()):
                rows.append(Row(dict.fromkeys(columns, "") | values, reader.line_num))
    except csv.Error as error:
        raise AdministrationError(
            f"{what} cannot be read: line {reader.line_num}: {error}."
        ) from None
    return rows


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A CSV file (RFC 4180) in which a spreadsheet finds no formula, even where it splits a cell:
    an apostrophe goes before what looks like a formula
    (https://owasp.org/www-community/attacks/CSV_Injection)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_LIKE_A_FORMULA.sub("'", cell) for cell in row] for row in rows)
    return text.getvalue()


def _meant(cell: str) -> str:
    """A cell without the apostrophes that `as_csv` added."""
    return _GUARDED.sub("", cell)
