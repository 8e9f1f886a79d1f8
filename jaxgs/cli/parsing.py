"""The parser of the command, and the parsers of its values."""

import argparse

METRICS = ("psnr", "ssim", "ms_ssim", "flip", "lpips")


class Parser(argparse.ArgumentParser):
  """An ArgumentParser that reports a mistake in one line."""

  def __init__(self, **options):
    # An abbreviation would change its meaning with the next option's name.
    super().__init__(allow_abbrev=False, **options)

  def error(self, message: str):
    """Exits with 2 and one line."""
    self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def number(kind: type, low: float, high: float):
  """A parser of numbers from low to high."""

  def parse(text: str):
    value = kind(text)
    if not low <= value <= high:  # True for NaN too.
      raise argparse.ArgumentTypeError(f"must be {low} to {high}, got {text}")
    return value

  parse.__name__ = kind.__name__  # argparse names it in its messages.
  return parse


def window(text: str) -> tuple[int, int, int, int]:
  """X,Y,W,H as numbers."""
  try:
    x, y, w, h = (int(part) for part in text.split(","))
  except ValueError:
    raise argparse.ArgumentTypeError(
      f"must be x,y,width,height in whole pixels, got {text!r}"
    ) from None
  return x, y, w, h


def metrics(text: str) -> tuple[str, ...]:
  """Names of metrics, with commas between them."""
  names = tuple(dict.fromkeys(text.split(",")))
  if names != ("all",) and not set(names) <= set(METRICS):
    raise argparse.ArgumentTypeError(
      f"must be all, or some of {','.join(METRICS)}, got {text!r}"
    )
  return names


class Version(argparse.Action):
  """Prints the version, for which it reads the installed metadata."""

  def __call__(self, parser, namespace, values, option_string=None):
    """Prints and exits."""
    # Not at the top: it takes as long as decoding a picture.
    import importlib.metadata

    print(f"jaxgs {importlib.metadata.version('jaxgs')}")
    parser.exit()


def weight(text: str) -> tuple[str, float]:
  """NAME=W as name and number."""
  name, _, number = text.rpartition("=")
  try:
    weight = float(number)
  except ValueError:
    weight = 0.0
  if not (name and 1e-3 <= weight <= 1e3):
    raise argparse.ArgumentTypeError(
      f"must be NAME=W with W from 0.001 to 1000, got {text!r}"
    )
  return name, weight
