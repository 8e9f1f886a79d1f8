"""A file of JSON lines that a killed run goes on with."""

import hashlib
import json
import math
import pathlib
from collections.abc import Mapping


def key_of(*parts) -> str:
  """The name of a row: a digest of all that decides what is in it."""
  text = json.dumps(parts, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


class ResultsFile:
  """Rows by key. One process may write at a time."""

  def __init__(self, path: pathlib.Path):
    """Reads what there is; cuts a last line that a kill has torn.

    Args:
      path: The file; made, with its folder, when the first row comes.

    Raises:
      ValueError: A line before the last is no row.
    """
    self._path = path
    self._rows: dict[str, dict] = {}
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, 1):
      try:
        row = json.loads(line)
        if not line.endswith(b"\n"):
          raise ValueError("torn")
        self._rows[row["key"]] = row
      except (ValueError, KeyError, TypeError):
        if number < len(lines):
          raise ValueError(f"{path}, line {number}: not a row") from None
        with path.open("r+b") as file:
          file.truncate(sum(len(line) for line in lines[:-1]))

  def __contains__(self, key: str) -> bool:
    """Whether there is such a row."""
    return key in self._rows

  def __getitem__(self, key: str) -> dict:
    """The row."""
    return self._rows[key]

  def append(self, key: str, row: Mapping) -> None:
    """Adds a row, on the disk when this returns.

    Args:
      key: Its name.
      row: Strings, numbers and booleans; what is not finite becomes null.
    """
    row = {
      name: None
      if isinstance(value, float) and not math.isfinite(value)
      else value
      for name, value in row.items()
    } | {"key": key}
    self._path.parent.mkdir(parents=True, exist_ok=True)
    with self._path.open("a") as file:
      file.write(json.dumps(row) + "\n")
    self._rows[key] = row
