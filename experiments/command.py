"""The frame of every binary here: flags, messages, and one line on failure."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

# What bad input, a full disk or a backend that cannot do it raises.
_FAULTS = (ValueError, OSError, MemoryError, NotImplementedError)


def launch(run: Callable[[], None], required: Sequence[str]) -> None:
  """Parses the flags and calls `run`; does not return.

  A bad flag, bad input or an interrupt ends with one line and exit code 1 (130
  for an interrupt), not with a traceback.

  Args:
    run: Does the work.
    required: Names of the flags that must be given.
  """

  def main(argv):
    if len(argv) > 1:
      _fail(f"unexpected argument {argv[1]!r}")
    try:
      run()
    except _FAULTS as error:
      _fail(" ".join(str(error).split()) or type(error).__name__)
    except KeyboardInterrupt:
      logging.error("interrupted; the same command goes on")
      sys.exit(130)

  flags.FLAGS.set_default("verbosity", logging.INFO)
  flags.mark_flags_as_required(required)
  app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  # Not by absl.logging, which adds a line of its own before there are flags.
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError) as error:
    sys.exit(f"error: no setting of the name {error}")
  except (flags.Error, TypeError, ValueError) as error:
    # ml_collections quotes whole tracebacks; the last line is the reason.
    sys.exit(f"error: {str(error).strip().splitlines()[-1].strip()}")


def _fail(line: str) -> None:
  logging.error("%s", line)
  sys.exit(1)
