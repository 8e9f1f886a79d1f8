"""The arguments of the `jaxgs` command."""

import argparse

from jaxgs.cli.encode_arguments import (
  add_encode_arguments,
  add_encode_batch_arguments,
  add_encode_stack_arguments,
)
from jaxgs.cli.parsing import Parser, Version
from jaxgs.cli.view_arguments import (
  add_decode_arguments,
  add_eval_arguments,
  add_export_arguments,
  add_import_arguments,
  add_plot_arguments,
)

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
_IMPORT = (
  "Rounds the Gaussians of other programs and writes them to a .jgs file as"
  " they are: nothing is fitted. Checkpoints are read without PyTorch, and"
  " nothing in them is run. They do not say how large their picture is."
)
_EXPORT = (
  "A .jgs file to plain arrays (.npz, which import reads), or to a likeness in"
  " vector graphics (.svg)."
)


def make_parser() -> argparse.ArgumentParser:
  """The parser; its result has `command` and that command's arguments."""
  parser = Parser(
    prog="jaxgs", description="Images as 2D Gaussians in small files."
  )
  parser.add_argument(
    "--version", action=Version, nargs=0, help="print the version"
  )
  commands = parser.add_subparsers(dest="command", required=True)
  encode = commands.add_parser("encode", help="an image to a .jgs file")
  add_encode_arguments(encode)
  batch = commands.add_parser(
    "encode-batch",
    help="the images of a folder to .jgs files",
    description=_ENCODE_BATCH,
  )
  add_encode_batch_arguments(batch)
  stack = commands.add_parser(
    "encode-stack",
    help="the maps of a folder to one .jgs file",
    description=_ENCODE_STACK,
  )
  add_encode_stack_arguments(stack)
  decode = commands.add_parser("decode", help="a .jgs file to images")
  add_decode_arguments(decode)

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
  add_eval_arguments(compare)
  add_plot_arguments(
    commands.add_parser(
      "plot", help="pictures of the splats, of the error, and of a fit"
    )
  )
  add_import_arguments(
    commands.add_parser(
      "import", help="other programs' Gaussians", description=_IMPORT
    )
  )
  add_export_arguments(
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
