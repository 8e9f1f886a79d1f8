"""The `jaxgs` command and its sub-commands.

Decoding takes less time than an import of jax, so a command's module is
imported when it is called, and jax where it is needed.
"""

import importlib
import logging
import sys
from collections.abc import Sequence

from jaxgs import codec
from jaxgs.cli.arguments import make_parser
from jaxgs.cli.report import CliError, complain, show
from jaxgs.io import ImageError

# In what jax says when the user's machine or settings are at fault.
_USER_FAULTS = (
  "RESOURCE_EXHAUSTED",  # XLA's word for out of memory.
  "Unable to initialize backend",
  "Unknown backend",
)

# A command's module in this package; its `run` takes the arguments and returns
# a Report.
_MODULES = {
  "encode": "encode",
  "encode-batch": "encode_batch",
  "encode-stack": "encode_stack",
  "decode": "decode",
  "info": "info",
  "eval": "evaluate",
  "import": "import_file",
  "export": "export_file",
  "saliency": "saliency",
  "plot": "plot",
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments without the program's name; those of the process when
      None.

  Returns:
    The exit code: 0, or 1 where the work failed. A mistake in the arguments
    exits with 2.
  """
  args = make_parser().parse_args(argv)
  # What readers have to say about a file is one line like the command's own.
  logging.basicConfig(format=f"jaxgs {args.command}: %(message)s")
  # Other exceptions are faults of the program and keep their traceback.
  try:
    module = importlib.import_module(f"jaxgs.cli.{_MODULES[args.command]}")
    report = module.run(args)
    show(report, getattr(args, "json", False))
    return report.code
  except (CliError, codec.BitstreamError, ImageError, OSError) as error:
    return _complain(args, str(error))
  except MemoryError as error:
    return _complain(args, f"out of memory: {error}")
  except RuntimeError as error:
    if not any(words in str(error) for words in _USER_FAULTS):
      raise
    return _complain(args, str(error))
  except KeyboardInterrupt:
    print(f"jaxgs {args.command}: interrupted", file=sys.stderr)
    return 130


def _complain(args, message: str) -> int:
  complain(args.command, message)
  return 1
