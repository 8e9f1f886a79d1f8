"""The `jaxgs` command: encode, decode, info, eval."""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence

from jaxgs.config import (
  PRESET_STEPS,
  CompressConfig,
  default_num_gaussians,
  preset,
)

# Heavy modules (jax, image libraries) are imported by the commands: `--help`
# and a misspelt option answer at once.


class CliError(Exception):
  """One clear line for the user; the exit code is 1."""


class _Parser(argparse.ArgumentParser):
  """An ArgumentParser that reports a mistake in one line."""

  def error(self, message: str):
    self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _positive(kind):
  def parse(text: str):
    value = kind(text)
    if not 0 < value < float("inf"):
      raise argparse.ArgumentTypeError(f"must be positive, got {text}")
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


def _make_parser() -> argparse.ArgumentParser:
  parser = _Parser(
    prog="jaxgs", description="Images as 2D Gaussians in small files."
  )
  commands = parser.add_subparsers(dest="command", required=True)

  encode = commands.add_parser("encode", help="an image to a .jgs file")
  encode.add_argument("input", help="PNG, JPEG, WebP, BMP or TIFF")
  encode.add_argument("output", help="the .jgs file")
  target = encode.add_mutually_exclusive_group()
  target.add_argument(
    "--num_gaussians", type=_positive(int), metavar="N",
    help="how many Gaussians (default: one per 80 pixels)",
  )
  target.add_argument(
    "--bpp", type=_positive(float), metavar="B",
    help="bits per pixel to reach, within 3 %%",
  )
  target.add_argument(
    "--psnr", type=_positive(float), metavar="P",
    help="PSNR in dB to reach; fits several times",
  )
  encode.add_argument(
    "--preset", choices=list(PRESET_STEPS), default="default",
    help="how long to optimise (default: %(default)s)",
  )
  encode.add_argument(
    "--steps", type=_positive(int), metavar="S",
    help="optimiser steps, instead of the preset's",
  )
  encode.add_argument("--seed", type=int, default=0)
  encode.add_argument("--json", action="store_true", help="report as JSON")

  decode = commands.add_parser("decode", help="a .jgs file to an image")
  decode.add_argument("input", help="the .jgs file")
  decode.add_argument("output", help="PNG, JPEG, WebP, BMP or TIFF")
  size = decode.add_mutually_exclusive_group()
  size.add_argument(
    "--height", type=_positive(int), metavar="H",
    help="rows of the output; the width follows",
  )
  size.add_argument(
    "--scale", type=_positive(float), default=1.0, metavar="R",
    help="output pixels per stored pixel (default: 1)",
  )
  decode.add_argument(
    "--crop", type=_window, metavar="X,Y,W,H",
    help="only this window of the (scaled) picture",
  )

  info = commands.add_parser("info", help="what is in a .jgs file")
  info.add_argument("input", help="the .jgs file")
  info.add_argument("--json", action="store_true", help="report as JSON")

  compare = commands.add_parser("eval", help="how close a picture is")
  compare.add_argument("reference", help="an image")
  compare.add_argument("input", help="a .jgs file or an image")
  compare.add_argument("--json", action="store_true", help="report as JSON")
  return parser


def _read(path: str) -> bytes:
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise CliError(f"{path}: {error.strerror or error}") from None
  return data


def _is_jgs(path: str) -> bool:
  from jaxgs.codec import MAGIC

  try:
    with open(path, "rb") as file:
      return file.read(len(MAGIC)) == MAGIC
  except OSError:
    return False  # The reader of images says what is wrong.


def _config(args, height: int, width: int) -> CompressConfig:
  pixels = height * width
  n = args.num_gaussians or default_num_gaussians(height, width)
  if n > pixels:
    raise CliError(
      f"--num_gaussians {n} is more than the {pixels} pixels of {args.input}"
    )
  return preset(args.preset, num_gaussians=n, num_steps=args.steps)


def _progress(config: CompressConfig, quiet: bool):
  """A bar and the function that moves it."""
  import numpy as np
  import tqdm

  bar = tqdm.tqdm(
    total=config.fit.num_steps, unit="step", disable=True if quiet else None
  )

  def report(state) -> None:
    step = int(state.step)
    if step < bar.n:  # A search for a target begins another fit.
      bar.reset()
    psnr = -10 * np.log10(max(float(state.mse), 1e-12))
    bar.set_postfix_str(f"{psnr:.2f} dB, {int(state.active.sum())} splats")
    bar.update(step - bar.n)

  return bar, report


def _run_encode(args) -> dict:
  from jaxgs.io import check_writable, read_image, write_atomic

  check_writable(args.output, suffixes=(".jgs",))
  image = read_image(args.input)
  height, width, channels = image.pixels.shape
  config = _config(args, height, width)
  import jax

  from jaxgs.compress import compress
  from jaxgs.rate_control import compress_to_psnr, compress_to_size

  began = time.perf_counter()
  bar, report = _progress(config, args.json)
  options = {
    "key": jax.random.key(args.seed),
    "report": report,
    "bit_depth": image.bit_depth,
    "has_alpha": image.has_alpha,
  }
  with bar:
    if args.bpp:
      num_bytes = max(1, round(args.bpp * height * width / 8))
      data = compress_to_size(image.pixels, num_bytes, config, **options)
    elif args.psnr:
      data = compress_to_psnr(image.pixels, args.psnr, config, **options)
    else:
      data = compress(image.pixels, config, **options)
  seconds = time.perf_counter() - began
  write_atomic(args.output, data)
  facts = _describe(data)
  result = {
    "file": args.output,
    "bytes": len(data),
    "bpp": 8 * len(data) / (height * width),
    "num_gaussians": facts["num_gaussians"],
    "bits_per_gaussian": facts["bits_per_gaussian"],
    **_scores(image.pixels, _pixels_of(data)),
    "seconds": seconds,
  }
  if not args.json:
    print(
      f"{args.output}: {len(data)} bytes, {result['bpp']:.3f} bpp,"
      f" {result['num_gaussians']} Gaussians of"
      f" {result['bits_per_gaussian']:.1f} bits, PSNR"
      f" {result['psnr_db']:.2f} dB, SSIM {result['ssim']:.4f},"
      f" {seconds:.1f} s"
    )
  return result


def _pixels_of(data: bytes):
  """A file's picture as float32 in [0, 1]."""
  import numpy as np

  from jaxgs.compress import decompress

  pixels = decompress(data)
  return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _scores(reference, pixels) -> dict:
  import jax.numpy as jnp

  from jaxgs import metrics

  a, b = jnp.asarray(reference), jnp.asarray(pixels)
  return {
    "psnr_db": float(metrics.psnr(a, b)),
    "ssim": float(metrics.ssim(a, b)),
    "ms_ssim": float(metrics.ms_ssim(a, b)),
  }


def _run_decode(args) -> dict:
  from jaxgs.io import check_writable, write_image

  check_writable(args.output)
  data = _read(args.input)
  from jaxgs import codec
  from jaxgs.compress import decompress

  began = time.perf_counter()
  header, _ = codec.decode(data)
  scale = args.scale
  if args.height:
    scale = args.height / header.height
  pixels = decompress(data, scale=scale, crop=args.crop)
  import numpy as np

  write_image(
    args.output,
    pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max),
    bit_depth=header.bit_depth,
    has_alpha=header.has_alpha,
  )
  height, width, channels = pixels.shape
  print(
    f"{args.output}: {width}x{height}, {channels} channels,"
    f" {header.bit_depth} bits, {time.perf_counter() - began:.1f} s"
  )
  return {}


def _describe(data: bytes) -> dict:
  from jaxgs import codec

  header, _ = codec.decode(data)
  n = header.num_gaussians
  sections = codec.section_sizes(data)
  facts = dataclasses.asdict(header)
  facts["lattice"] = header.lattice._asdict()
  return {
    **facts,
    "bytes": len(data),
    "bpp": 8 * len(data) / (header.height * header.width),
    "bits_per_gaussian": 8 * len(data) / n,
    "section_bytes": sections,
    "section_bits_per_gaussian": {k: 8 * v / n for k, v in sections.items()},
  }


def _run_info(args) -> dict:
  facts = _describe(_read(args.input))
  if not args.json:
    sizes = facts.pop("section_bytes")
    bits = facts.pop("section_bits_per_gaussian")
    lattice = facts.pop("lattice")
    for name, value in (facts | lattice).items():
      shown = f"{value:.4f}" if isinstance(value, float) else value
      print(f"{name:20} {shown}")
    print(f"\n{'section':20} {'bytes':>8} {'bits per Gaussian':>18}")
    for name, size in sizes.items():
      print(f"{name:20} {size:8} {bits[name]:18.2f}")
  return facts


def _run_eval(args) -> dict:
  from jaxgs.io import read_image

  reference = read_image(args.reference).pixels
  if _is_jgs(args.input):
    pixels = _pixels_of(_read(args.input))
  else:
    pixels = read_image(args.input).pixels
  if pixels.shape != reference.shape:
    raise CliError(
      f"{args.input} is {_shape(pixels)}, {args.reference} is"
      f" {_shape(reference)}"
    )
  size = os.path.getsize(args.input)
  result = {
    "bytes": size,
    "bpp": 8 * size / (reference.shape[0] * reference.shape[1]),
    **_scores(reference, pixels),
  }
  if not args.json:
    print(
      f"PSNR {result['psnr_db']:.2f} dB, SSIM {result['ssim']:.4f}, MS-SSIM"
      f" {result['ms_ssim']:.4f}, {result['bpp']:.3f} bpp"
    )
  return result


def _shape(pixels) -> str:
  height, width, channels = pixels.shape
  return f"{width}x{height} with {channels} channels"


_COMMANDS = {
  "encode": _run_encode,
  "decode": _run_decode,
  "info": _run_info,
  "eval": _run_eval,
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
  args = _make_parser().parse_args(argv)
  try:
    result = _COMMANDS[args.command](args)
  except (CliError, ValueError, OSError, MemoryError) as error:
    # ValueError covers ImageError, BitstreamError and TargetError.
    line = " ".join(str(error).split()) or type(error).__name__
    print(f"jaxgs {args.command}: error: {line}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print(f"jaxgs {args.command}: interrupted", file=sys.stderr)
    return 130
  if getattr(args, "json", False):
    # Infinite PSNR is not JSON: identical pictures report null.
    print(json.dumps(_finite(result)))
  return 0


def _finite(value):
  if isinstance(value, dict):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, float) and value in (float("inf"), float("-inf")):
    return None
  return value


if __name__ == "__main__":
  sys.exit(main())
