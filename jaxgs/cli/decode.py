"""`jaxgs decode`: a `.jgs` file to an image."""

import time

from jaxgs.cli.jgs_file import check_distinct, draw_jgs, read_jgs
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.decompress import MAX_PIXELS, output_size, spec_of
from jaxgs.io import check_format, check_writable, write_samples


def run(args) -> Report:
  """Draws a file and writes the picture."""
  check_writable(args.output)
  jgs = read_jgs(args.input)
  header = jgs.header
  check_distinct(args.input, args.output)
  began = time.perf_counter()
  scale = args.height / header.height if args.height else args.scale
  height, width = output_size(header, scale)
  x, y, w, h = args.crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise CliError(
      f"--crop {x},{y},{w},{h} is not within the {width}x{height} pixels of"
      " the picture"
    )
  if h * w > MAX_PIXELS:
    raise CliError(f"{w}x{h} is over the limit of {MAX_PIXELS} pixels")
  check_format(args.output, (h, w, header.channels), has_alpha=header.has_alpha)
  check_backend(spec_of(header), decode=True)
  samples = draw_jgs(args.input, jgs, scale=scale, crop=(x, y, w, h))
  write_samples(args.output, samples, has_alpha=header.has_alpha)
  seconds = time.perf_counter() - began
  return Report(f"{args.output}: {w}x{h} pixels, {seconds:.1f} s", {})
