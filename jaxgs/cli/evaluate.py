"""`jaxgs eval`: how close a picture is to another, or maps to theirs."""

import os

import numpy as np

from jaxgs.cli.folder import read_maps, resize_maps
from jaxgs.cli.jgs_file import (
  Jgs,
  check_distinct,
  draw_jgs,
  draw_jgs_maps,
  is_jgs,
  read_jgs,
)
from jaxgs.cli.report import CliError, Report, check_backend, note
from jaxgs.cli.scoring import measure, scores_text
from jaxgs.codec import Map
from jaxgs.decompress import own_pixels, spec_of
from jaxgs.io import (
  Image,
  check_format,
  check_writable,
  read_image,
  write_image,
)
from jaxgs.transfer import levels_to_float


def run(args) -> Report:
  """Measures a file or an image against a reference."""
  if os.path.isdir(args.reference):
    return _run_stack(args)
  if args.error_map:
    check_writable(args.error_map)
    check_distinct(args.reference, args.error_map)
    check_distinct(args.input, args.error_map)
  reference = read_image(args.reference)
  height, width, _ = reference.pixels.shape
  if args.error_map:
    check_format(args.error_map, (height, width, 3), has_alpha=False)
  pixels, size = _read(args, reference)
  one = _as_map(reference)
  scores, left_out = measure(args, reference.pixels, pixels, one)
  for line in left_out:
    note("eval", line)
  if args.error_map:
    _write_error_map(args, reference.pixels, pixels, one)
  bpp = 8 * size / (height * width)
  return Report(
    f"{scores_text(scores)}, {bpp:.3f} bpp",
    {"bytes": size, "bpp": bpp, **scores},
  )


def _read(args, reference: Image) -> tuple[np.ndarray, int]:
  """The pixels to judge, as those of the reference; the bytes of their file."""
  wanted = reference.pixels.shape
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
    is_light = header.pictures[0].sample != "integer"
  else:
    image = read_image(args.input)
    pixels = image.pixels
    size, shape = os.path.getsize(args.input), pixels.shape
    is_light = image.sample != "integer"
  # Before drawing: a small file may declare a picture of any size.
  if shape != wanted:
    raise CliError(
      f"{args.input} is {shape[1]}x{shape[0]} with {shape[2]} channels,"
      f" {args.reference} is {wanted[1]}x{wanted[0]} with {wanted[2]}"
    )
  if is_light != (reference.sample != "integer"):
    light, other = (
      (args.input, args.reference) if is_light else (args.reference, args.input)
    )
    raise CliError(f"{light} is linear light (floats), {other} is not")
  if from_jgs:
    check_backend(spec_of(header), decode=True)
    # No larger than the reference, which was read.
    drawn = draw_jgs(args.input, jgs, max_pixels=own_pixels(header))
    pixels = levels_to_float(drawn)
  return pixels, size


def _as_map(image: Image) -> Map:
  """What a reference is, whatever the file says: how it is measured."""
  return Map(
    channels=image.pixels.shape[2],
    alpha="straight" if image.has_alpha else "none",
    # Linear light.
    curve="none" if image.sample == "integer" else "log",
  )


def _write_error_map(
  args, reference: np.ndarray, pixels: np.ndarray, one: Map
) -> None:
  """Draws where two pictures differ."""
  import jax.numpy as jnp

  from jaxgs import metrics
  from jaxgs.metrics.color import to_rgb

  a, b = jnp.asarray(reference), jnp.asarray(pixels)
  try:
    if args.error_map_kind == "absolute":
      error = jnp.abs(to_rgb(a) - to_rgb(b)) * args.error_gain
      colored = np.clip(np.asarray(error), 0.0, 1.0)
    else:
      flip_map = metrics.flip_map
      if one.curve != "none":
        flip_map = metrics.hdr_flip_map
      error = flip_map(a, b, pixels_per_degree=args.pixels_per_degree)
      colored = _magma(np.asarray(error))
  except ValueError as error:  # Channels that are no picture.
    raise CliError(f"--error_map: {error}") from error
  write_image(args.error_map, colored)


def _magma(values: np.ndarray) -> np.ndarray:
  """Colours of (H, W) in [0, 1]: (H, W, 3), from black over red to white."""
  try:
    import matplotlib
  except ModuleNotFoundError:
    raise CliError(
      "--error_map_kind flip needs matplotlib: pip install"
      " 'jaxgs[plots]', or take --error_map_kind absolute"
    ) from None
  return matplotlib.colormaps["magma"](values)[..., :3].astype(np.float32)


def _run_stack(args) -> Report:
  """Measures the maps of a stack against the images of a folder."""
  if args.error_map:
    raise CliError("--error_map is of one picture, not of a stack")
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
  maps, left_out = {}, []
  for one in header.maps:
    reference, picture = images[one.name].pixels, drawn[one.name]
    scores = measure(args, reference, levels_to_float(picture), one)
    maps[one.name] = scores.found
    left_out += scores.left_out
  for line in dict.fromkeys(left_out):
    note("eval", line)
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
