"""Gaussians and the rules that draw them; to a `.jgs` file and back."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxgs import codec
from jaxgs.codec.header import GAMMA_MAX, GAMMA_ONE
from jaxgs.codec.maps import color_triples, validate_maps
from jaxgs.config import QuantConfig, RasterSpec
from jaxgs.convert.inside import move_inside
from jaxgs.decompress import finish_rows, spec_of
from jaxgs.dequantize import from_symbols, host_lattice, triples_of
from jaxgs.transfer import dtype_of
from jaxgs.types import Gaussians2D

# Gaussians that were not fitted on the lattice of a file need finer steps. Fits
# of kodim23 by Image-GS (N = 2500) and GaussianImage (N = 5000), dB from the
# picture before rounding at bits per Gaussian, by coarseness:
#   1/2: 39.4 at 47, 38.7 at 36    1/4: 44.7 at 54, 44.6 at 44
#   1/8: 49.5 at 62, 49.8 at 52   1/16: 52.1 at 70, 53.4 at 60
FINE = QuantConfig(coarseness=1 / 8)

# Pixels of one band of rows: bounds the memory at any size.
_BAND_PX = 1 << 22


class Drawing(NamedTuple):
  """Gaussians and how they become a picture.

  Attributes:
    gaussians: Gaussians2D of numpy arrays, in pixels of the picture; centres
      may lie outside of it.
    height: Of the picture, px.
    width: Of the picture, px.
    raster: Blend, top_k, cutoff, epsilon and edge count.
    bit_depth: Of the drawn picture, 8 or 16; 8 where `maps` tell.
    has_alpha: The last channel is alpha; False where `maps` tell.
    gamma: What is drawn is the picture to this power, 1/1024 to 64.
    maps: What the channels are, where it takes more to say: see codec.Header.
    icc: Colour profile, empty for none.
  """

  gaussians: Gaussians2D
  height: int
  width: int
  raster: RasterSpec
  bit_depth: int = 8
  has_alpha: bool = False
  gamma: float = 1.0
  maps: tuple[codec.Map, ...] = ()
  icc: bytes = b""


def check_drawing(drawing: Drawing) -> Drawing:
  """The same with float32 arrays, if it can be drawn and stored.

  Args:
    drawing: Gaussians of any float type.

  Returns:
    A Drawing.

  Raises:
    ValueError: A shape does not fit the others, a value is not finite, or a
      setting is out of the range of a `.jgs` file.
  """
  feature = np.asarray(drawing.gaussians.feature)
  if feature.ndim != 2:
    raise ValueError(f"feature has shape {feature.shape}, expected (N, C)")
  if not 0 < drawing.gamma * GAMMA_ONE <= GAMMA_MAX:  # False for NaN, too.
    raise ValueError(f"gamma must be 1/1024 to 64, got {drawing.gamma}")
  n, c = feature.shape
  shapes = Gaussians2D((n, 2), (n, 2), (n,), (n,), (n, c))
  fields = []
  for name, value in drawing.gaussians._asdict().items():
    value, shape = np.asarray(value), getattr(shapes, name)
    if value.shape != shape or value.dtype.kind != "f":
      raise ValueError(
        f"{name} is {value.dtype}{value.shape}, expected floats {shape}"
      )
    if not np.isfinite(value).all():
      raise ValueError(f"{name} has values that are not finite")
    # 1e9 px is outside of any picture, and squares of it are finite.
    fields.append(value.clip(-1e9, 1e9).astype(np.float32))
  drawing = drawing._replace(gaussians=Gaussians2D(*fields))
  codec.validate_header(_header(drawing, FINE))
  return drawing


def decode_drawing(data: bytes) -> Drawing:
  """Reads a `.jgs` file.

  Args:
    data: The file.

  Returns:
    A Drawing whose Gaussians are those that the file stands for.

  Raises:
    BitstreamError: The file is damaged or not a `.jgs` file.
  """
  header, symbols = codec.decode(data)
  lattice = host_lattice(header.lattice)
  return Drawing(
    from_symbols(symbols, lattice, transform=header.transform),
    header.height,
    header.width,
    dataclasses.replace(spec_of(header), tile=0),
    header.bit_depth,
    header.has_alpha,
    header.gamma / GAMMA_ONE,
    header.maps,
    header.icc,
  )


def encode_drawing(drawing: Drawing, *, quant: QuantConfig = FINE) -> bytes:
  """Rounds Gaussians and writes a `.jgs` file; nothing is fitted.

  A file has no centres outside of its picture: Gaussians that reach into it
  from there become the nearest ones that it can hold, see `move_inside`.

  Args:
    drawing: What to store.
    quant: Steps as they are, whatever its `measured` says.

  Returns:
    The file.

  Raises:
    ValueError: The drawing is not valid, or none of it is in the picture.
  """
  from jaxgs.job import encode_gaussians

  drawing = check_drawing(drawing)
  gaussians = move_inside(
    drawing.gaussians,
    height=drawing.height,
    width=drawing.width,
    cutoff=drawing.raster.cutoff,
  )
  active = np.ones(len(gaussians.angle), bool)
  return encode_gaussians(gaussians, active, _header(drawing, quant))


def _header(drawing: Drawing, quant: QuantConfig) -> codec.Header:
  from jaxgs.quantize import lattice_of

  raster = drawing.raster
  num_gaussians, channels = drawing.gaussians.feature.shape
  if drawing.maps:
    validate_maps(drawing.maps, channels)
    transform = "none"
    triples = color_triples(drawing.maps)
  else:
    is_color = channels - drawing.has_alpha in (3, 4)
    transform = "ycocg" if is_color else "none"
    triples = triples_of(transform)
  return codec.Header(
    height=drawing.height,
    width=drawing.width,
    channels=channels,
    num_gaussians=num_gaussians,
    lattice=lattice_of(quant, channels, triples),
    bit_depth=drawing.bit_depth,
    blend=raster.blend,
    top_k=raster.top_k,
    cutoff=round(raster.cutoff * 256),
    edge=raster.edge,
    epsilon=round(raster.epsilon * 2**24),
    color_transform=transform,
    has_alpha=drawing.has_alpha,
    gamma=round(drawing.gamma * GAMMA_ONE),
    maps=drawing.maps,
    icc=drawing.icc,
  )


def render_drawing(drawing: Drawing) -> np.ndarray:
  """Draws the Gaussians as they are, centres outside of the picture included.

  Args:
    drawing: What to draw, one picture.

  Returns:
    (H, W, C) uint8 or uint16, or float32 in linear light.

  Raises:
    ValueError: The Gaussians touch more tiles than can be counted, or the
      drawing is a stack.
  """
  if len(drawing.maps) > 1:
    raise ValueError(f"drawing must be one picture, has {len(drawing.maps)}")
  (picture,) = render_maps(drawing).values()
  return picture


def render_maps(drawing: Drawing) -> dict[str, np.ndarray]:
  """`render_drawing` of any drawing.

  Args:
    drawing: What to draw.

  Returns:
    Arrays by the names of the maps; the empty name for one picture.

  Raises:
    ValueError: The Gaussians touch more tiles than can be counted.
  """
  from jaxgs.rasterize import render

  header = _header(drawing, FINE)
  height, width = header.height, header.width
  pictures = {
    one.name: np.empty((height, width, one.channels), dtype_of(one))
    for one in header.pictures
  }
  rows = max(4 * _BAND_PX // (width * max(header.channels, 4)), 1)
  for top in range(0, height, rows):
    image = render(
      drawing.gaussians,
      height=min(rows, height - top),
      width=width,
      offset=(0, top),
      spec=drawing.raster,
    ).image
    finish_rows(np.asarray(image), header.gamma, header.pictures, pictures, top)
  return pictures
