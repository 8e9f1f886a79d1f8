"""The arguments of the commands that make files of images."""

import argparse

from jaxgs.cli.parsing import number, weight
from jaxgs.config import PRESET_STEPS


def add_encode_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs encode`."""
  parser.add_argument(
    "input",
    metavar="IN",
    help="PNG, JPEG, WebP, BMP, TIFF, OpenEXR or Radiance HDR",
  )
  parser.add_argument("output", metavar="OUT.jgs", help="the file to write")
  _add_target_arguments(parser)
  _add_fit_arguments(parser)
  _add_saliency(parser)
  _add_picture_arguments(parser)
  _add_reading_arguments(parser)
  parser.add_argument(
    "--animate",
    metavar="FILM",
    help="also a film of the fit: GIF, WebP or MP4, by its suffix",
  )
  parser.add_argument(
    "--json", action="store_true", help="report as JSON, without progress"
  )


def add_encode_stack_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs encode-stack`."""
  parser.add_argument("input", metavar="DIR", help="of one image per map")
  parser.add_argument("output", metavar="OUT.jgs", help="the file to write")
  _add_target_arguments(parser)
  parser.add_argument(
    "--weight",
    type=weight,
    action="append",
    default=[],
    metavar="NAME=W",
    help="what errors in this map count (default: 1); may be repeated",
  )
  parser.add_argument(
    "--normal",
    action="append",
    default=[],
    metavar="NAME",
    help="a normal map, whose vectors are to get length 1 when decoded; may be"
    " repeated",
  )
  parser.add_argument(
    "--height",
    type=number(int, 1, 8192),
    metavar="H",
    help="rows of all maps; the width follows that of the largest",
  )
  _add_fit_arguments(parser)
  _add_picture_arguments(parser)
  _add_reading_arguments(parser)
  parser.add_argument(
    "--json", action="store_true", help="report as JSON, without progress"
  )


def _add_target_arguments(parser: argparse.ArgumentParser) -> None:
  target = parser.add_mutually_exclusive_group()
  _add_num_gaussians(target)
  target.add_argument(
    "--bpp",
    type=number(float, 1e-4, 1e3),
    metavar="B",
    help="size of the file in bits per pixel, to within 3 %%",
  )
  target.add_argument(
    "--psnr",
    type=number(float, 1, 100),
    metavar="P",
    help="least PSNR in dB (of linear light: under its curve); fits several"
    " times",
  )


def _add_saliency(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--saliency",
    metavar="spectral|emlnet|MAP",
    help="spend more where people look: by a model (see `jaxgs saliency`), or"
    " where an image of any size is bright",
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
    type=number(float, 1 / 1024, 16),
    metavar="G",
    default=1.0,
    help="fit the values to this power; decoding undoes it (default: 1)",
  )


def add_encode_batch_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs encode-batch`."""
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
  _add_saliency(parser)
  _add_reading_arguments(parser)
  parser.add_argument(
    "--json",
    action="store_true",
    help="a line of JSON per image, and one in the end, without progress",
  )


def _add_num_gaussians(parser) -> None:
  parser.add_argument(
    "--num_gaussians",
    type=number(int, 1, 1 << 24),  # The most that a file can hold.
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
    help=f"how many steps to optimise: {steps}, these with half the rates and"
    " shaken like rounding shakes",
  )
  parser.add_argument(
    "--steps",
    type=number(int, 1, 2**31 - 1),
    metavar="S",
    help="this many steps instead of the preset's",
  )
  parser.add_argument(
    "--seed",
    type=number(int, 0, 2**32 - 1),  # jax drops higher bits in silence.
    metavar="K",
    default=0,
    help="of the random start (default: 0)",
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
