"""`jaxgs plot`: pictures of what is in a `.jgs` file, and of a fit."""

import math
import pathlib
from typing import NamedTuple

import numpy as np

from jaxgs import plots
from jaxgs.cli.jgs_file import (
  Jgs,
  check_distinct,
  draw_jgs_maps,
  is_jgs,
  named_maps,
  read_jgs,
  sizes,
)
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.codec import Map
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.decompress import MAX_PIXELS, output_size, spec_of
from jaxgs.dequantize import from_symbols, host_lattice
from jaxgs.io import check_writable, read_image
from jaxgs.transfer import curve_of, levels_to_float, to_shown
from jaxgs.types import Gaussians2D

# The longest side of a picture if no scale is asked for, px.
_SIDE_PX, _SHEET_SIDE_PX = 1600, 800

# In the folder of a run.
_OF_RUNS = {"curves": "metrics.jsonl", "rounds": "growth.jsonl"}
_BACKGROUNDS = {"grey": plots.GREY, "white": "white", "black": "black"}
_NEED_REFERENCE = ("error", "flip", "sheet")
_OF_IMAGES = ("error", "flip", "gradient", "saliency")


class _Subject(NamedTuple):
  """What is drawn.

  Attributes:
    name: Of the file.
    samples: (H, W, C) float32, alpha straight; linear light as it is.
    map: What the channels are.
    jgs: The file, unless it is an image.
  """

  name: str
  samples: np.ndarray
  map: Map
  jgs: Jgs | None

  @property
  def size(self) -> tuple[int, int]:
    return self.samples.shape[:2]

  @property
  def is_light(self) -> bool:
    return self.map.sample != "integer"

  @property
  def pixels(self) -> np.ndarray:
    """In [0, 1]: linear light under its curve, as the file stores it."""
    return to_shown(self.samples, self.map)

  @property
  def rgb(self) -> np.ndarray:
    return plots.to_rgb(self.pixels, has_alpha=self.map.has_alpha)


def run(args) -> Report:
  """Draws a plot and writes it."""
  check_writable(args.output, suffixes=plots.FIGURE_SUFFIXES)
  try:
    plots.check_matplotlib()
    plot = _plot_run if args.kind in _OF_RUNS else _plot_file
    figure = plot(args)
  except plots.PlotError as error:
    raise CliError(str(error)) from error
  plots.write_figure(args.output, figure)
  width, height = (
    round(side * figure.dpi) for side in figure.get_size_inches()
  )
  return Report(f"{args.output}: {args.kind}, {width}x{height} pixels", {})


def _plot_run(args):
  """Curves and rounds, from the folder of `experiments.fit_image`."""
  folder = pathlib.Path(args.input)
  log = folder / _OF_RUNS[args.kind] if folder.is_dir() else folder
  name = log.resolve().parent.name
  if args.kind == "curves":
    return plots.curves_figure(plots.read_metrics(log), title=f"Fit of {name}")
  placed = plots.read_placed(log)
  picture = args.image or str(log.parent / "decoded.png")
  check_distinct(picture, args.output)
  subject = _read(args, picture)
  panel = plots.rounds_panel(name, placed, subject.rgb)
  return _page(args, subject, [[panel]])


def _plot_file(args):
  """All other kinds."""
  if args.kind in _NEED_REFERENCE and not args.image:
    raise CliError(f"--kind {args.kind} needs the original: --image REF")
  for source in filter(None, (args.input, args.image)):
    check_distinct(source, args.output)
  subject = _read(args, args.input)
  if subject.jgs is None and args.kind not in _OF_IMAGES:
    raise CliError(
      f"{args.input}: not a .jgs file, which --kind {args.kind} needs"
    )
  reference = _read_reference(args, subject) if args.image else None
  if args.kind == "sheet":
    title, rows = _sheet(args, subject, reference)
    return _page(args, subject, rows, title)
  if args.kind in ("ellipses", "centers", "ids"):
    panel = _splats_panel(args, subject, reference)
  else:
    panel = _map_panel(args, subject, reference)
  return _page(args, subject, [[panel]])


def _page(args, subject: _Subject, rows, title: str = ""):
  """The page of a window, at the scale that is asked for."""
  window = _window(args, subject)
  # Panels of the first row have the scale.
  width = max(1, round(window[2] * _scale(args, window))) * len(rows[0])
  return plots.make_figure(
    rows, window, width_px=width, title=title, bare=args.bare
  )


def _scale(args, window) -> float:
  """Pixels of the page per pixel of the image."""
  if args.scale:
    return args.scale
  side = _SHEET_SIDE_PX if args.kind == "sheet" else _SIDE_PX
  scale = side / max(window[2:])
  # Every pixel of a small image as large as the next.
  return float(int(scale)) if scale > 1 else scale


def _window(args, subject: _Subject) -> tuple[int, int, int, int]:
  height, width = subject.size
  x, y, w, h = args.crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise CliError(
      f"--crop {x},{y},{w},{h} is not within the {width}x{height} pixels of"
      f" {subject.name}"
    )
  return x, y, w, h


def _read(args, path: str) -> _Subject:
  if not is_jgs(path):
    image = read_image(path)
    colors = image.pixels[..., :-1] if image.has_alpha else image.pixels
    curve = "none" if image.sample == "integer" else "log"
    one = Map(
      channels=image.pixels.shape[2],
      sample=image.sample,
      alpha="straight" if image.has_alpha else "none",
      **curve_of(colors, curve),
    )
    return _Subject(path, image.pixels, one, None)
  jgs = read_jgs(path)
  one = _map_of(args, path, jgs)
  check_backend(spec_of(jgs.header), decode=True)
  samples = draw_jgs_maps(path, jgs, names=[one.name])[one.name]
  return _Subject(path, levels_to_float(samples), one, jgs)


def _map_of(args, path: str, jgs: Jgs) -> Map:
  """The map that is asked for; the first of a stack if none is."""
  return named_maps(path, jgs.header, args.map and [args.map])[0]


def _read_reference(args, subject: _Subject) -> _Subject:
  """The original, under the curve of what is compared with it."""
  found = _read(args, args.image)
  (h, w, c), (height, width, channels) = (
    s.samples.shape for s in (subject, found)
  )
  if (h, w, c) != (height, width, channels):
    raise CliError(
      f"{args.input} is {w}x{h} with {c} channels, {args.image} is"
      f" {width}x{height} with {channels}"
    )
  if found.is_light != subject.is_light:
    light, other = (found, subject) if found.is_light else (subject, found)
    raise CliError(
      f"{light.name} is linear light (floats), {other.name} is not"
    )
  return found._replace(map=subject.map)


def _splats(subject: _Subject) -> tuple[Gaussians2D, np.ndarray]:
  """The Gaussians of a file, and the colours that they show."""
  header, one = subject.jgs.header, subject.map
  gaussians = from_symbols(
    subject.jgs.symbols,
    host_lattice(header.lattice),
    transform=header.transform,
  )
  names = [other.name for other in header.pictures]
  before = header.pictures[: names.index(one.name)]
  first = sum(other.channels for other in before)
  feature = gaussians.feature[:, first : first + one.channels]
  gaussians = gaussians._replace(feature=feature)
  gamma = header.gamma / GAMMA_ONE
  colors = plots.splat_colors(gaussians, header.blend, gamma, one)
  return gaussians, colors


def _below(args, subject: _Subject, reference: _Subject | None):
  """What lies under the splats, (H, W, 3), and the window that it covers."""
  if reference:
    return reference.rgb, None
  x, y, w, h = window = _window(args, subject)
  scale, header = _scale(args, window), subject.jgs.header
  if scale <= 1 or w * h * scale * scale > MAX_PIXELS:
    return subject.rgb, None
  # Drawn at the scale of the page: as sharp as the ellipses.
  height, width = output_size(header, scale)
  left, top = int(x * scale), int(y * scale)
  right = min(math.ceil((x + w) * scale), width)
  bottom = min(math.ceil((y + h) * scale), height)
  crop = (left, top, right - left, bottom - top)
  options = {"names": [subject.map.name], "scale": scale, "crop": crop}
  (samples,) = draw_jgs_maps(subject.name, subject.jgs, **options).values()
  drawn = subject._replace(samples=levels_to_float(samples))
  return drawn.rgb, tuple(side / scale for side in crop)


def _splats_panel(args, subject: _Subject, reference: _Subject | None):
  gaussians, colors = _splats(subject)
  below, covers = _below(args, subject, reference)
  what = "the original" if reference else "the decoded picture"
  name, count = pathlib.PurePath(subject.name).name, len(gaussians.mean)
  if args.kind == "centers":
    title = f"{name}: centres of {count} splats on {what}"
    return plots.centers_panel(title, gaussians, below, covers=covers)
  if args.kind == "ids":
    title = f"{name}: splats by their number in the file, 1 sigma"
    return plots.ids_panel(
      title,
      gaussians,
      below,
      window=_window(args, subject),
      covers=covers,
    )
  return plots.ellipses_panel(
    f"{name}: {count} splats, {args.sigmas:g} sigma",
    gaussians,
    colors,
    sigmas=args.sigmas,
    alpha=args.alpha,
    outline=args.outline,
    background=_BACKGROUNDS.get(args.background, below),
    covers=covers,
  )


def _map_panel(args, subject: _Subject, reference: _Subject | None):
  name = pathlib.PurePath(subject.name).name
  source = reference or subject
  if args.kind == "error":
    return plots.error_panel(
      f"{name}: error, {_psnr(subject, reference)}",
      reference.pixels,
      subject.pixels,
      signed=args.signed,
    )
  if args.kind == "flip":
    values = _flip(reference, subject)
    title = f"{name}: FLIP error, mean {values.mean():.4f}"
    return plots.map_panel(title, values, label="FLIP, 0 to 1", high=1.0)
  of = pathlib.PurePath(source.name).name
  if args.kind == "saliency":
    return plots.map_panel(
      f"{of}: saliency", _saliency(source), label="saliency, 0 to 1", high=1.0
    )
  from jaxgs.init import gradient_map

  return plots.map_panel(
    f"{of}: where a fit begins",
    np.asarray(gradient_map(source.pixels)),
    label="squared gradient, sum of the channels, 1 / px²",
    colors="viridis",
    power=0.4,
  )


def _flip(reference: _Subject, subject: _Subject) -> np.ndarray:
  from jaxgs.metrics import flip_map, hdr_flip_map

  if subject.is_light:
    return np.asarray(hdr_flip_map(reference.samples, subject.samples))
  return np.asarray(flip_map(reference.rgb, subject.rgb))


def _saliency(subject: _Subject) -> np.ndarray:
  from jaxgs.saliency import spectral_residual

  return np.asarray(spectral_residual(subject.pixels))


def _sheet(args, subject: _Subject, reference: _Subject):
  """Original and decoded, large; error, ellipses and centres below."""
  gaussians, colors = _splats(subject)
  facts = sizes(subject.jgs)
  height, width = subject.size
  title = (
    f"{pathlib.PurePath(subject.name).name}   {width}x{height}   N ="
    f" {facts['num_gaussians']}   {facts['bytes']} bytes   "
    f"{facts['bpp']:.3f} bpp   PSNR {_psnr(subject, reference)}"
  )
  return title, [
    [
      plots.picture_panel("original", reference.rgb),
      plots.picture_panel("decoded", subject.rgb),
    ],
    [
      plots.error_panel(
        "error", reference.pixels, subject.pixels, signed=args.signed
      ),
      plots.ellipses_panel(
        f"ellipses, {args.sigmas:g} sigma",
        gaussians,
        colors,
        sigmas=args.sigmas,
        alpha=args.alpha,
        outline=args.outline,
      ),
      plots.centers_panel("centres", gaussians, subject.rgb),
    ],
  ]


def _psnr(subject: _Subject, reference: _Subject) -> str:
  mse = float(
    np.mean(np.square(subject.pixels - reference.pixels, dtype=np.float64))
  )
  return f"{-10 * np.log10(mse):.2f} dB" if mse else "no error"
