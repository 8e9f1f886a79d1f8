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

PLOT_KINDS = (
  "ellipses",
  "centers",
  "ids",
  "error",
  "flip",
  "gradient",
  "saliency",
  "sheet",
  "rounds",
  "curves",
)
METRICS = ("psnr", "ssim", "ms_ssim", "flip", "lpips")


_IMPORT = (
  "Rounds the Gaussians of other programs and writes them to a .jgs file as"
  " they are: nothing is fitted. Checkpoints are read without PyTorch, and"
  " nothing in them is run. They do not say how large their picture is."
)
_EXPORT = (
  "A .jgs file to plain arrays (.npz, which import reads), or to a likeness in"
  " vector graphics (.svg)."
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


def _metrics(text: str) -> tuple[str, ...]:
  names = tuple(dict.fromkeys(text.split(",")))
  if names != ("all",) and not set(names) <= set(METRICS):
    raise argparse.ArgumentTypeError(
      f"must be all, or some of {','.join(METRICS)}, got {text!r}"
    )
  return names


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
  decode = commands.add_parser("decode", help="a .jgs file to an image")
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
  _add_eval_arguments(compare)
  _add_plot_arguments(
    commands.add_parser(
      "plot", help="pictures of the splats, of the error, and of a fit"
    )
  )
  _add_import_arguments(
    commands.add_parser(
      "import", help="other programs' Gaussians", description=_IMPORT
    )
  )
  _add_export_arguments(
    commands.add_parser(
      "export", help="a .jgs file as arrays or SVG", description=_EXPORT
    )
  )
  saliency = commands.add_parser(
    "saliency", help="where people look, as a picture"
  )
  saliency.add_argument("input", metavar="IN", help="an image")
  saliency.add_argument("output", metavar="OUT", help="the map, as an image")
  saliency.add_argument(
    "--model",
    choices=["spectral", "emlnet"],
    default="spectral",
    help="the spectral residual (default), or the network EML-Net, whose"
    " weights are to be fetched",
  )
  return parser


def _add_encode_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input",
    metavar="IN",
    help="PNG, JPEG, WebP, BMP, TIFF, OpenEXR or Radiance HDR",
  )
  parser.add_argument("output", metavar="OUT.jgs", help="the file to write")
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
  _add_fit_arguments(parser)
  _add_reading_arguments(parser)
  parser.add_argument(
    "--animate",
    metavar="FILM",
    help="also a film of the fit: GIF, WebP or MP4, by its suffix",
  )
  parser.add_argument(
    "--json", action="store_true", help="report as JSON, without progress"
  )


def _add_encode_batch_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input",
    metavar="DIR",
    help="of PNG, JPEG, WebP, BMP, TIFF, OpenEXR and Radiance HDR files",
  )
  parser.add_argument(
    "output", metavar="OUT_DIR", help="where the .jgs files go; is made"
  )
  _add_num_gaussians(parser)
  _add_fit_arguments(parser)
  _add_reading_arguments(parser)
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
  parser.add_argument(
    "--saliency",
    metavar="spectral|emlnet|MAP",
    help="spend more where people look: by a model (see `jaxgs saliency`), or"
    " where an image of any size is bright",
  )


def _add_reading_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--nan",
    choices=["error", "zero"],
    default="error",
    help="NaN, infinite and negative floats: refuse the image (default), or"
    " read them as 0",
  )
  parser.add_argument(
    "--profile",
    choices=["keep", "srgb"],
    default="keep",
    help="colours of an image with a colour profile: as they are stored"
    " (default), or converted to sRGB",
  )


def _add_decode_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("input", metavar="IN.jgs", help="the file to read")
  parser.add_argument(
    "output",
    metavar="OUT",
    help="PNG, JPEG, WebP, BMP, TIFF, OpenEXR or Radiance HDR, by its suffix",
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


def _add_import_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input", metavar="IN", help="a checkpoint (.pt, .pth.tar) or an .npz file"
  )
  parser.add_argument("output", metavar="OUT", help="a .jgs or an .npz file")
  parser.add_argument(
    "--from",
    dest="kind",
    choices=["image-gs", "gaussian-image", "npz"],
    help="whose it is (default: by its content)",
  )
  for side in ("height", "width"):
    parser.add_argument(
      f"--{side}",
      type=_number(int, 1, 65536),
      metavar=side[0].upper(),
      help="of the picture, px, for a checkpoint",
    )
  parser.add_argument(
    "--coarseness",
    type=_number(float, 1e-3, 1e3),
    metavar="R",
    default=1 / 8,
    help="multiplies the steps of rounding; 1 is for what was fitted on them"
    " (default: 0.125)",
  )
  image_gs = parser.add_argument_group("as the Image-GS fit was made with")
  image_gs.add_argument("--disable_inverse_scale", action="store_true")
  image_gs.add_argument("--disable_topk_norm", action="store_true")
  image_gs.add_argument(
    "--gamma", type=_number(float, 1 / 1024, 16), metavar="G", default=1.0
  )
  parser.add_argument("--json", action="store_true", help="report as JSON")


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("input", metavar="IN.jgs", help="the file to read")
  parser.add_argument("output", metavar="OUT", help="an .npz or an .svg file")
  parser.add_argument(
    "--mode",
    choices=["gradients", "ellipses"],
    help="of an SVG: ellipses that fade (the default), or flat ones",
  )
  parser.add_argument(
    "--sigmas",
    type=_number(float, 0.01, 10),
    metavar="K",
    help="half axes of flat ellipses in standard deviations (default: 2)",
  )


def _add_eval_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("reference", metavar="REF", help="an image")
  parser.add_argument("input", metavar="FILE", help="a .jgs file or an image")
  parser.add_argument(
    "--metrics",
    type=_metrics,
    metavar="LIST",
    default=("psnr", "ssim", "ms_ssim"),
    help=f"all, or some of {','.join(METRICS)} (default: psnr,ssim,ms_ssim);"
    " lpips needs weights",
  )
  parser.add_argument(
    "--lpips_network",
    choices=("alex", "vgg"),
    default="alex",
    help="whose weights are read from $JAXGS_WEIGHTS or ~/.cache/jaxgs/weights"
    " (default: alex)",
  )
  parser.add_argument(
    "--pixels_per_degree",
    type=_number(float, 1, 1000),
    metavar="P",
    default=67.02,
    help="of the eye's angle, for FLIP (default: 67.02)",
  )
  parser.add_argument(
    "--error_map",
    metavar="OUT",
    help="an image to write: where the two differ",
  )
  parser.add_argument(
    "--error_map_kind",
    choices=("flip", "absolute"),
    default="flip",
    help="FLIP in the colours of magma, or the absolute difference (default:"
    " flip)",
  )
  parser.add_argument(
    "--error_gain",
    type=_number(float, 1e-3, 1e6),
    metavar="G",
    default=10.0,
    help="of the absolute difference (default: 10)",
  )
  parser.add_argument("--json", action="store_true", help="report as JSON")


def _add_plot_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input",
    metavar="FILE",
    help="a .jgs file; for error, flip, gradient and saliency also an image;"
    " for rounds and curves the folder of a run of experiments.fit_image",
  )
  parser.add_argument(
    "output", metavar="OUT", help="PNG, SVG or PDF, by its suffix"
  )
  parser.add_argument(
    "--kind", choices=PLOT_KINDS, default="ellipses", help="(default: ellipses)"
  )
  parser.add_argument("--image", metavar="REF", help="the original")
  parser.add_argument(
    "--scale",
    type=_number(float, 1e-2, 1e3),
    metavar="R",
    help="pixels per pixel of the image (default: by its size)",
  )
  parser.add_argument(
    "--crop",
    type=_window,
    metavar="X,Y,W,H",
    help="only this window, in pixels of the image",
  )
  parser.add_argument(
    "--sigmas",
    type=_number(float, 0.01, 10),
    default=1.0,
    metavar="S",
    help="half axes of an ellipse in standard deviations (default: 1)",
  )
  parser.add_argument(
    "--alpha",
    type=_number(float, 0, 1),
    default=1.0,
    metavar="A",
    help="opacity of ellipses (default: 1)",
  )
  parser.add_argument(
    "--outline", action="store_true", help="ellipses as lines, not filled"
  )
  parser.add_argument(
    "--background",
    choices=("grey", "white", "black", "image"),
    default="grey",
    help="of ellipses (default: grey)",
  )
  parser.add_argument(
    "--signed", action="store_true", help="the error with its sign"
  )
  parser.add_argument(
    "--bare", action="store_true", help="the picture alone, without any text"
  )
