"""The arguments of the `jaxgs` command."""

import argparse

from jaxgs.config import PRESET_STEPS

_ENCODE_BATCH = (
  "Encodes the images of a folder, many at a time; all GPUs of the machine"
  " share the work. Sub-folders, hidden files and files without the suffix of"
  " an image are left out. a.png becomes a.jgs; where a.png and a.jpg would"
  " both, they become a.png.jgs and a.jpg.jgs. An image whose file is there,"
  " whole and with its size and channels, is skipped, whatever settings the"
  " file was made with: after an interruption the same command goes on. An"
  " image that fails gets a line on stderr, and the exit code is 1 at the end."
)


_ENCODE_STACK = (
  "Encodes the images of a folder, such as the maps of a texture, as one file"
  " whose channels share their Gaussians. Each map keeps its name, channels and"
  " depth; sub-folders, hidden files and files without the suffix of an image"
  " are left out. Maps of other sizes are brought to that of the largest."
)


class _Parser(argparse.ArgumentParser):
  """An ArgumentParser that reports a mistake in one line."""

  def __init__(self, **options):
    # An abbreviation would change its meaning with the next option's name.
    super().__init__(allow_abbrev=False, **options)

  def error(self, message: str):
    self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _number(kind: type, low: float, high: float):
  """A parser of numbers from low to high."""

  def parse(text: str):
    value = kind(text)
    if not low <= value <= high:  # True for NaN too.
      raise argparse.ArgumentTypeError(f"must be {low} to {high}, got {text}")
    return value

  parse.__name__ = kind.__name__  # argparse names it in its messages.
  return parse


def _window(text: str) -> tuple[int, int, int, int]:
  try:
    x, y, w, h = (int(part) for part in text.split(","))
  except ValueError:
    raise argparse.ArgumentTypeError(
      f"must be x,y,width,height in whole pixels, got {text!r}"
    ) from None
  return x, y, w, h


class _Version(argparse.Action):
  """Prints the version, for which it reads the installed metadata."""

  def __call__(self, parser, namespace, values, option_string=None):
    # Not at the top: it takes as long as decoding a picture.
    import importlib.metadata

    print(f"jaxgs {importlib.metadata.version('jaxgs')}")
    parser.exit()


def make_parser() -> argparse.ArgumentParser:
  """The parser; its result has `command` and that command's arguments."""
  parser = _Parser(
    prog="jaxgs", description="Images as 2D Gaussians in small files."
  )
  parser.add_argument(
    "--version", action=_Version, nargs=0, help="print the version"
  )
  commands = parser.add_subparsers(dest="command", required=True)
  encode = commands.add_parser("encode", help="an image to a .jgs file")
  _add_encode_arguments(encode)
  batch = commands.add_parser(
    "encode-batch",
    help="the images of a folder to .jgs files",
    description=_ENCODE_BATCH,
  )
  _add_encode_batch_arguments(batch)
  stack = commands.add_parser(
    "encode-stack",
    help="the maps of a folder to one .jgs file",
    description=_ENCODE_STACK,
  )
  _add_encode_stack_arguments(stack)
  decode = commands.add_parser("decode", help="a .jgs file to images")
  _add_decode_arguments(decode)

  info = commands.add_parser(
    "info", help="what is in a .jgs file, or what can draw it"
  )
  subject = info.add_mutually_exclusive_group(required=True)
  subject.add_argument("input", metavar="FILE", nargs="?", help="the .jgs file")
  subject.add_argument(
    "--backends",
    action="store_true",
    help="instead: what can draw on this machine, and why not the rest",
  )
  info.add_argument("--json", action="store_true", help="report as JSON")

  compare = commands.add_parser("eval", help="how close a picture is")
  compare.add_argument(
    "reference", metavar="REF", help="an image; a folder of maps for a stack"
  )
  compare.add_argument("input", metavar="FILE", help="a .jgs file or an image")
  compare.add_argument("--json", action="store_true", help="report as JSON")
  return parser


def _weight(text: str) -> tuple[str, float]:
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


def _add_encode_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input", metavar="IN", help="PNG, JPEG, WebP, BMP or TIFF"
  )
  parser.add_argument("output", metavar="OUT.jgs", help="the file to write")
  _add_target_arguments(parser)
  _add_fit_arguments(parser)
  _add_picture_arguments(parser)
  parser.add_argument(
    "--json", action="store_true", help="report as JSON, without progress"
  )


def _add_encode_stack_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("input", metavar="DIR", help="of one image per map")
  parser.add_argument("output", metavar="OUT.jgs", help="the file to write")
  _add_target_arguments(parser)
  parser.add_argument(
    "--weight",
    type=_weight,
    action="append",
    default=[],
    metavar="NAME=W",
    help="what errors in this map count (default: 1); may be repeated",
  )
  parser.add_argument(
    "--normal",
    action="append",
    metavar="NAME",
    help="a normal map, whose vectors get length 1 when decoded; may be"
    " repeated (default: RGB maps with 'normal' in the name)",
  )
  parser.add_argument(
    "--height",
    type=_number(int, 1, 8192),
    metavar="H",
    help="rows of all maps; the width follows that of the largest",
  )
  _add_fit_arguments(parser)
  _add_picture_arguments(parser)
  parser.add_argument(
    "--json", action="store_true", help="report as JSON, without progress"
  )


def _add_target_arguments(parser: argparse.ArgumentParser) -> None:
  target = parser.add_mutually_exclusive_group()
  _add_num_gaussians(target)
  target.add_argument(
    "--bpp",
    type=_number(float, 1e-4, 1e3),
    metavar="B",
    help="size of the file in bits per pixel, to within 3 %%",
  )
  target.add_argument(
    "--psnr",
    type=_number(float, 1, 100),
    metavar="P",
    help="least PSNR in dB; fits several times",
  )


def _add_picture_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--alpha",
    choices=["straight", "premultiplied"],
    default="premultiplied",
    help="store colours as they are, or multiplied by alpha (default), which"
    " spends nothing on those that are transparent",
  )
  parser.add_argument(
    "--curve",
    choices=["log", "pu"],
    default="log",
    help="of linear light: logarithmic (default), or perceptually uniform"
    " (PU21)",
  )
  parser.add_argument(
    "--gamma",
    type=_number(float, 1 / 1024, 16),
    metavar="G",
    default=1.0,
    help="fit the values to this power; decoding undoes it (default: 1)",
  )


def _add_encode_batch_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input", metavar="DIR", help="of PNG, JPEG, WebP, BMP and TIFF files"
  )
  parser.add_argument(
    "output", metavar="OUT_DIR", help="where the .jgs files go; is made"
  )
  _add_num_gaussians(parser)
  _add_fit_arguments(parser)
  parser.add_argument(
    "--json",
    action="store_true",
    help="a line of JSON per image, and one in the end, without progress",
  )


def _add_num_gaussians(parser) -> None:
  parser.add_argument(
    "--num_gaussians",
    type=_number(int, 1, 1 << 24),  # The most that a file can hold.
    metavar="N",
    help="how many Gaussians per image (default: one per 80 pixels, at least"
    " 16)",
  )


def _add_fit_arguments(parser: argparse.ArgumentParser) -> None:
  steps = ", ".join(f"{name} {count}" for name, count in PRESET_STEPS.items())
  parser.add_argument(
    "--preset",
    choices=list(PRESET_STEPS),
    default="default",
    help=f"how many steps to optimise: {steps}",
  )
  parser.add_argument(
    "--steps",
    type=_number(int, 1, 2**31 - 1),
    metavar="S",
    help="this many steps, whatever the preset",
  )
  parser.add_argument(
    "--seed",
    type=_number(int, 0, 2**32 - 1),  # jax drops higher bits in silence.
    metavar="K",
    default=0,
    help="of the random start (default: 0)",
  )


def _add_decode_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("input", metavar="IN.jgs", help="the file to read")
  parser.add_argument(
    "output",
    metavar="OUT",
    help="PNG, JPEG, WebP, BMP or TIFF, by its suffix; of a stack the folder"
    " for its maps",
  )
  parser.add_argument(
    "--map",
    action="append",
    metavar="NAME",
    help="only this map of a stack; may be repeated",
  )
  size = parser.add_mutually_exclusive_group()
  size.add_argument(
    "--height",
    type=_number(int, 1, 65536),
    metavar="H",
    help="rows of the whole picture; the width follows",
  )
  size.add_argument(
    "--scale",
    type=_number(float, 1e-4, 1e4),
    metavar="R",
    default=1.0,
    help="output pixels per stored pixel (default: 1)",
  )
  parser.add_argument(
    "--crop",
    type=_window,
    metavar="X,Y,W,H",
    help="only this window of the scaled picture",
  )
