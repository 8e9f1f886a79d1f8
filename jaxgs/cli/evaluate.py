"""`jaxgs eval`: how close a picture is to another."""

import os

from jaxgs.cli.jgs_file import draw_jgs, is_jgs, read_jgs, scores, to_float
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.decompress import spec_of
from jaxgs.io import read_image


def run(args) -> Report:
  """Measures a file or an image against a reference."""
  reference = read_image(args.reference).pixels
  height, width, channels = reference.shape
  from_jgs = is_jgs(args.input)
  if from_jgs:
    jgs = read_jgs(args.input)
    header = jgs.header
    size = len(jgs.data)
    shape = (header.height, header.width, header.channels)
  else:
    pixels = read_image(args.input).pixels
    size, shape = os.path.getsize(args.input), pixels.shape
  # Before drawing: a small file may declare a picture of any size.
  if shape != reference.shape:
    raise CliError(
      f"{args.input} is {shape[1]}x{shape[0]} with {shape[2]} channels,"
      f" {args.reference} is {width}x{height} with {channels}"
    )
  if from_jgs:
    check_backend(spec_of(header), decode=True)
    pixels = to_float(draw_jgs(args.input, jgs))
  facts = {
    "bytes": size,
    "bpp": 8 * size / (height * width),
    **scores(reference, pixels),
  }
  return Report(
    f"PSNR {facts['psnr_db']:.2f} dB, SSIM {facts['ssim']:.4f}, MS-SSIM"
    f" {facts['ms_ssim']:.4f}, {facts['bpp']:.3f} bpp",
    facts,
  )
