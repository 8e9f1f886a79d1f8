"""`jaxgs decode`: a `.jgs` file to images."""

import os
import time

import numpy as np

from jaxgs import codec
from jaxgs.cli.jgs_file import (
  Jgs,
  check_distinct,
  draw_jgs_maps,
  named_maps,
  read_jgs,
)
from jaxgs.cli.report import CliError, Report, check_backend, note
from jaxgs.decompress import output_size, spec_of
from jaxgs.io import (
  check_format,
  check_writable,
  profile_fault,
  write_samples,
)


def run(args) -> Report:
  """Draws a file and writes the picture, or the maps."""
  jgs = read_jgs(args.input)
  header = jgs.header
  if not header.is_stack:
    check_writable(args.output)
  maps = named_maps(args.input, header, args.map)
  paths = {one.name: _path(args, header, one) for one in maps}
  for path in paths.values():
    check_distinct(args.input, path)
  began = time.perf_counter()
  scale = args.height / header.height if args.height else args.scale
  height, width = output_size(header, scale)
  x, y, w, h = args.crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise CliError(
      f"--crop {x},{y},{w},{h} is not within the {width}x{height} pixels of"
      " the picture"
    )
  channels = sum(one.channels for one in maps)
  # More than four channels count as more pixels, as in `draw_maps`.
  most = 4 * args.max_pixels // max(channels, 4)
  if h * w > most:
    raise CliError(
      f"{w}x{h} is over the limit of {most} pixels: see --crop, --max_pixels"
    )
  profiles, left_out = _profiles(header, maps, paths)
  for one in maps:
    check_format(
      paths[one.name],
      (h, w, one.channels),
      has_alpha=one.has_alpha,
      sample=one.sample,
      icc=profiles[one.name],
    )
  check_backend(spec_of(header), decode=True)
  for line in left_out:
    note("decode", line)
  window = {"scale": scale, "crop": (x, y, w, h)}
  window["max_pixels"] = args.max_pixels
  _write(args, jgs, maps, paths, profiles, **window)
  seconds = time.perf_counter() - began
  what = f"{w}x{h} pixels"
  if header.is_stack:
    what = f"{len(maps)} map{'s' * (len(maps) > 1)} of {what}"
  return Report(f"{args.output}: {what}, {seconds:.1f} s", {})


def _path(args, header: codec.Header, one: codec.Map) -> str:
  """The file of a map."""
  if not header.is_stack:
    return args.output
  if os.path.exists(args.output) and not os.path.isdir(args.output):
    raise CliError(
      f"{args.output}: {args.input} is a stack of {len(header.maps)} maps,"
      " expected a folder"
    )
  suffix = ".png" if one.sample == "integer" else ".exr"
  return os.path.join(args.output, one.name + suffix)


def _profiles(
  header: codec.Header, maps: list[codec.Map], paths: dict[str, str]
) -> tuple[dict[str, bytes | None], list[str]]:
  """The colour profile, for what has colours, and lines on what cannot hold it.

  A picture without its profile is better than none.
  """
  profiles, left_out = {}, []
  for one in maps:
    profiles[one.name] = None
    if not header.icc or (header.is_stack and one.num_colors < 3):
      continue
    path = paths[one.name]
    if fault := profile_fault(path, one.num_colors, header.icc):
      left_out.append(f"{path}: {fault}: left out")
    else:
      profiles[one.name] = header.icc
  return profiles, left_out


def _write(
  args,
  jgs: Jgs,
  maps,
  paths: dict[str, str],
  profiles: dict[str, bytes | None],
  **window,
) -> None:
  """Draws the maps, and writes them once all are drawn."""
  names = [one.name for one in maps]
  drawn = draw_jgs_maps(args.input, jgs, names=names, **window)
  if jgs.header.is_stack:
    try:
      os.makedirs(args.output, exist_ok=True)
    except OSError as error:
      raise CliError(f"{args.output}: {error.strerror or error}") from error
    for path in paths.values():
      check_writable(path)
  for one in maps:
    samples = drawn[one.name]
    if one.sample == "half":
      samples = samples.astype(np.float16)
    write_samples(
      paths[one.name],
      samples,
      has_alpha=one.has_alpha,
      icc=profiles[one.name],
    )
