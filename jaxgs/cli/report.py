"""What a command of `jaxgs` says: results on stdout, faults on stderr."""

import json
import math
import os
import sys
from typing import NamedTuple

from jaxgs import native
from jaxgs.config import RasterSpec
from jaxgs.painters import uses_native


class CliError(Exception):
  """One clear line for the user; the exit code is 1."""


class Report(NamedTuple):
  """What a command says: as text, or with --json these facts.

  Attributes:
    text: For people.
    facts: For programs.
    code: The exit code of the command.
  """

  text: str
  facts: dict
  code: int = 0


def check_backend(spec: RasterSpec, *, decode: bool) -> None:
  """JAXGS_BACKEND may name what is not there or cannot draw this."""
  try:
    native.num_threads()
    if not (decode and uses_native()):
      from jaxgs.backends import resolve_backend

      resolve_backend(spec)
  except (ValueError, NotImplementedError) as error:
    raise CliError(str(error)) from error


def complain(command: str, message: str) -> None:
  """Prints one line about a fault."""
  note(command, f"error: {message}")


def note(command: str, message: str) -> None:
  """Prints one line beside the result."""
  # Names of files may hold bytes that are no text.
  line = " ".join(message.split()).encode(errors="backslashreplace").decode()
  print(f"jaxgs {command}: {line}", file=sys.stderr)


def _without_infinity(value):
  if isinstance(value, dict):
    return {k: _without_infinity(v) for k, v in value.items()}
  return None if value == math.inf else value


def show(report: Report, as_json: bool) -> None:
  """Prints a result."""
  text = report.text
  if as_json:
    # JSON has no infinity: the PSNR of identical pictures is null.
    text = json.dumps(_without_infinity(report.facts), allow_nan=False)
  text = text.encode(errors="backslashreplace").decode()
  try:
    print(text, flush=True)
  except BrokenPipeError:
    # The reader left, as in `| head -0`; Python would complain at its exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
