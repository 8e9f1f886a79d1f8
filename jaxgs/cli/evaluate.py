"""`jaxgs eval`: how close a picture is to another, or maps to theirs."""

import os

from jaxgs.cli.folder import read_maps, resize_maps
from jaxgs.cli.jgs_file import (
  Jgs,
  draw_jgs,
  draw_jgs_maps,
  is_jgs,
  map_scores,
  read_jgs,
  scores_text,
)
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.codec import Map
from jaxgs.decompress import spec_of
from jaxgs.io import Image, read_image


def run(args) -> Report:
  """Measures a file or an image against a reference."""
  if os.path.isdir(args.reference):
    return _run_stack(args)
  image = read_image(args.reference)
  reference = image.pixels
  height, width, channels = reference.shape
  from_jgs = is_jgs(args.input)
  if from_jgs:
    jgs = read_jgs(args.input)
    header = jgs.header
    if header.is_stack:
      raise CliError(
        f"{args.input}: is a stack of {len(header.maps)} maps, expected a"
        f" folder instead of {args.reference}"
      )
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
    pixels = draw_jgs(args.input, jgs)
  facts = {
    "bytes": size,
    "bpp": 8 * size / (height * width),
    **map_scores(reference, pixels, _as_map(image)),
  }
  text = scores_text(facts)
  if "ms_ssim" in facts:
    text += f", MS-SSIM {facts['ms_ssim']:.4f}"
  return Report(f"{text}, {facts['bpp']:.3f} bpp", facts)


def _as_map(image: Image) -> Map:
  """What a reference is, whatever the file says: how it is measured."""
  return Map(
    channels=image.pixels.shape[2],
    alpha="straight" if image.has_alpha else "none",
    # Linear light.
    curve="none" if image.sample == "integer" else "log",
  )


def _run_stack(args) -> Report:
  """Measures the maps of a stack against the images of a folder."""
  if not is_jgs(args.input):
    raise CliError(f"{args.input}: {args.reference} is a folder, expected .jgs")
  jgs = read_jgs(args.input)
  header = jgs.header
  if not header.is_stack:
    raise CliError(
      f"{args.input}: is one picture, expected an image instead of the folder"
      f" {args.reference}"
    )
  images = read_maps(args.reference)
  _check_maps(args, jgs, images)
  chosen = {one.name: images[one.name] for one in header.maps}
  images = resize_maps(chosen, (header.height, header.width), "eval")
  check_backend(spec_of(header), decode=True)
  drawn = draw_jgs_maps(args.input, jgs)
  size, pixels = len(jgs.data), header.height * header.width
  maps = {
    one.name: map_scores(images[one.name].pixels, drawn[one.name], one)
    for one in header.maps
  }
  lines = [f"{name}: {scores_text(facts)}" for name, facts in maps.items()]
  facts = {"bytes": size, "bpp": 8 * size / pixels, "maps": maps}
  return Report("\n".join([*lines, f"{facts['bpp']:.3f} bpp"]), facts)


def _check_maps(args, jgs: Jgs, images: dict[str, Image]) -> None:
  for one in jgs.header.maps:
    if one.name not in images:
      raise CliError(
        f"{args.reference}: no image for the map {one.name!r} of {args.input}"
      )
    channels = images[one.name].pixels.shape[2]
    if channels != one.channels:
      raise CliError(
        f"{args.input}: {one.name} has {one.channels} channels, that of"
        f" {args.reference} has {channels}"
      )
