"""The arguments of the commands that read files, and of import and export."""

import argparse

from jaxgs.cli.parsing import METRICS, metrics, number, window
from jaxgs.codec.header import PIXELS_MAX
from jaxgs.decompress import MAX_PIXELS

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


def add_decode_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs decode`."""
  parser.add_argument("input", metavar="IN.jgs", help="the file to read")
  parser.add_argument(
    "output",
    metavar="OUT",
    help="PNG, JPEG, WebP, BMP, TIFF, OpenEXR or Radiance HDR, by its suffix;"
    " of a stack the folder for its maps",
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
    type=number(int, 1, 65536),
    metavar="H",
    help="rows of the whole picture; the width follows",
  )
  size.add_argument(
    "--scale",
    type=number(float, 1e-4, 1e4),
    metavar="R",
    default=1.0,
    help="output pixels per stored pixel (default: 1)",
  )
  parser.add_argument(
    "--crop",
    type=window,
    metavar="X,Y,W,H",
    help="only this window of the scaled picture",
  )
  parser.add_argument(
    "--max_pixels",
    type=number(int, 1, PIXELS_MAX),
    metavar="P",
    default=MAX_PIXELS,
    help="draw no more than this: a small file can ask for gigabytes (default:"
    f" {MAX_PIXELS}, which is 8192x8192; at most {PIXELS_MAX})",
  )


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs import`."""
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
      type=number(int, 1, 65536),
      metavar=side[0].upper(),
      help="of the picture, px, for a checkpoint",
    )
  parser.add_argument(
    "--coarseness",
    type=number(float, 1e-3, 1e3),
    metavar="R",
    default=1 / 8,
    help="multiplies the steps of rounding; 1 is for what was fitted on them"
    " (default: 0.125)",
  )
  image_gs = parser.add_argument_group("as the Image-GS fit was made with")
  image_gs.add_argument("--disable_inverse_scale", action="store_true")
  image_gs.add_argument("--disable_topk_norm", action="store_true")
  image_gs.add_argument(
    "--gamma", type=number(float, 1 / 1024, 16), metavar="G", default=1.0
  )
  parser.add_argument("--json", action="store_true", help="report as JSON")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs export`."""
  parser.add_argument("input", metavar="IN.jgs", help="the file to read")
  parser.add_argument("output", metavar="OUT", help="an .npz or an .svg file")
  parser.add_argument(
    "--mode",
    choices=["gradients", "ellipses"],
    help="of an SVG: ellipses that fade (the default), or flat ones",
  )
  parser.add_argument(
    "--sigmas",
    type=number(float, 0.01, 10),
    metavar="K",
    help="half axes of flat ellipses in standard deviations (default: 2)",
  )


def add_eval_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs eval`."""
  parser.add_argument(
    "reference", metavar="REF", help="an image; a folder of maps for a stack"
  )
  parser.add_argument("input", metavar="FILE", help="a .jgs file or an image")
  parser.add_argument(
    "--metrics",
    type=metrics,
    metavar="LIST",
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
    type=number(float, 1, 1000),
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
    type=number(float, 1e-3, 1e6),
    metavar="G",
    default=10.0,
    help="of the absolute difference (default: 10)",
  )
  parser.add_argument("--json", action="store_true", help="report as JSON")


def add_plot_arguments(parser: argparse.ArgumentParser) -> None:
  """Those of `jaxgs plot`."""
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
    "--map", metavar="NAME", help="of a stack (default: its first map)"
  )
  parser.add_argument(
    "--scale",
    type=number(float, 1e-2, 1e3),
    metavar="R",
    help="pixels per pixel of the image (default: by its size)",
  )
  parser.add_argument(
    "--crop",
    type=window,
    metavar="X,Y,W,H",
    help="only this window, in pixels of the image",
  )
  parser.add_argument(
    "--sigmas",
    type=number(float, 0.01, 10),
    default=1.0,
    metavar="S",
    help="half axes of an ellipse in standard deviations (default: 1)",
  )
  parser.add_argument(
    "--alpha",
    type=number(float, 0, 1),
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
