"""An image and its settings, made ready for a fit; and the file of a fit."""

import dataclasses
import math
from collections.abc import Mapping

import jax
import numpy as np

from jaxgs import codec
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.codec.maps import CURVES, color_triples, is_plain
from jaxgs.config import (
  CompressConfig,
  QuantConfig,
  default_num_gaussians,
  preset,
)
from jaxgs.quantize import (
  device_lattice,
  lattice_of,
  measured_config,
  to_symbols,
)
from jaxgs.state import FitState
from jaxgs.transfer import (
  DEFAULT_ALPHA,
  curve_of,
  levels_to_float,
  premultiply,
  to_coded,
)
from jaxgs.types import Gaussians2D


def to_float(image: np.ndarray, *, most: float = 1.0) -> tuple[np.ndarray, int]:
  """Pixels as float32, integers in [0, 1], and their bit depth.

  Args:
    image: (H, W) or (H, W, C), uint8, uint16 or float in [0, 1].
    most: The largest value that a float may have.

  Returns:
    (H, W, C) float32; 8 or 16 (8 for floats).

  Raises:
    ValueError: Another shape or dtype, no pixels, or values that are not
      finite or outside [0, most].
  """
  image = np.asarray(image)
  if image.ndim == 2:
    image = image[..., None]
  if image.ndim != 3 or image.size == 0:
    raise ValueError(f"image must be (H, W, C), not empty, got {image.shape}")
  if image.dtype in (np.uint8, np.uint16):
    peak = np.iinfo(image.dtype).max
    return image.astype(np.float32) / np.float32(peak), 8 * image.itemsize
  if image.dtype.kind != "f":
    raise ValueError(f"image must be uint8, uint16 or float, got {image.dtype}")
  low, high = float(image.min()), float(image.max())
  if not (low >= 0.0 and high <= most):  # False for NaN too.
    raise ValueError(f"image must be in [0, {most:.6g}], got {low} to {high}")
  return image.astype(np.float32), 8


# Pixels that are compared at a time.
_BLOCK_PX = 1 << 20

# The largest float32: what is not finite is beyond it.
_ANY = float(np.finfo(np.float32).max)


def map_of(
  image: np.ndarray,
  *,
  name: str = "",
  bit_depth: int | None = None,
  has_alpha: bool | None = None,
  sample: str = "integer",
  curve: str | None = None,
  alpha: str | None = None,
  is_vector: bool = False,
  is_normal: bool = False,
) -> tuple[np.ndarray, codec.Map]:
  """A picture as a file will store it, and what the file says about it.

  Args:
    image: (H, W) or (H, W, C), uint8, uint16 or float: in [0, 1], or any
      finite values >= 0 if there is a curve.
    name: Of the map.
    bit_depth: 8 or 16, of decoded integers; the image's when None.
    has_alpha: The last channel is alpha; for 2 and 4 channels when None.
    sample: "integer", "half" or "float", of the decoded picture.
    curve: "none", "log" or "pu"; when None, "none" for integers and "log" for
      the others.
    alpha: "straight" or "premultiplied"; DEFAULT_ALPHA when None.
    is_vector: Its channels are components of vectors, no colours.
    is_normal: They are normals, which get length 1 when decoded.

  Returns:
    (H, W, C) float32 in [0, 1]; the map.

  Raises:
    ValueError: The image or an option is out of range.
  """
  if curve is None:
    curve = "none" if sample == "integer" else "log"
  if curve not in CURVES:
    raise ValueError(f"curve must be one of {CURVES}, got {curve!r}")
  pixels, depth = to_float(image, most=1.0 if curve == "none" else _ANY)
  channels = pixels.shape[2]
  if has_alpha is None:
    has_alpha = channels in (2, 4)
  num_colors = channels - has_alpha
  # Components of a vector do not vary together.
  is_color = num_colors in (3, 4) and not (is_vector or is_normal)
  one = codec.Map(
    channels=channels,
    name=name,
    sample=sample,
    bit_depth={"half": 16, "float": 32}.get(sample, bit_depth or depth),
    alpha=(alpha or DEFAULT_ALPHA) if has_alpha else "none",
    color_transform="ycocg" if is_color else "none",
    is_normal=is_normal,
  )
  if has_alpha and pixels[..., -1].max() > 1:
    raise ValueError("alpha, the last channel, must be in [0, 1]")
  shown = premultiply(pixels) if one.alpha == "premultiplied" else pixels
  one = dataclasses.replace(one, **curve_of(shown[..., :num_colors], curve))
  return to_coded(pixels, one), one


@dataclasses.dataclass(frozen=True)
class Job:
  """An image and the settings to compress it with, checked.

  Attributes:
    image: (H, W, C) float32 in [0, 1], as its maps are stored.
    config: Settings.
    maps: What its channels are; one without a name for a picture.
    icc: Colour profile, empty for none.
    mask: (H, W) float32 in (0, 1], how much a pixel counts, or None.
  """

  image: np.ndarray
  config: CompressConfig
  maps: tuple[codec.Map, ...]
  icc: bytes = b""
  mask: np.ndarray | None = None

  @classmethod
  def of(
    cls,
    image: np.ndarray,
    config: CompressConfig | None = None,
    *,
    bit_depth: int | None = None,
    has_alpha: bool | None = None,
    sample: str = "integer",
    curve: str | None = None,
    alpha: str | None = None,
    icc: bytes | None = None,
    mask: np.ndarray | None = None,
  ) -> "Job":
    """Checks the arguments of `compress` and fills in what is None."""
    coded, one = map_of(
      image,
      bit_depth=bit_depth,
      has_alpha=has_alpha,
      sample=sample,
      curve=curve,
      alpha=alpha,
    )
    return cls.of_maps(coded, (one,), config, icc=icc, mask=mask)

  @classmethod
  def of_maps(
    cls,
    coded: np.ndarray,
    maps: tuple[codec.Map, ...],
    config: CompressConfig | None = None,
    *,
    icc: bytes | None = None,
    mask: np.ndarray | None = None,
  ) -> "Job":
    """A job of (H, W, C) values in [0, 1], and of what the channels are."""
    height, width, _ = coded.shape
    config = config or default_config(height, width)
    if config.fit.num_gaussians > height * width:
      raise ValueError(
        f"num_gaussians must be at most {height * width} (the pixels of the"
        f" image), got {config.fit.num_gaussians}"
      )
    num_weights = len(config.fit.channel_weights)
    if num_weights not in (0, coded.shape[2]):
      raise ValueError(
        f"channel_weights must be {coded.shape[2]} or none, got {num_weights}"
      )
    if mask is not None:
      mask = _checked_mask(mask, (height, width))
    job = cls(coded, config, tuple(maps), icc or b"", mask)
    codec.validate_header(job.header(job.lattice()))
    return job

  @property
  def target(self) -> np.ndarray:
    """What the fit sees: the image to the power of gamma."""
    if self.config.gamma == 1:  # No copy: it may have gigabytes.
      return self.image
    return self.image ** np.float32(self.config.gamma)

  @property
  def transform(self) -> tuple[int, ...]:
    """The colour transform, see `codec.Header`."""
    return color_triples(self.maps)

  def lattice(
    self, state: FitState | None = None, quant: QuantConfig | None = None
  ) -> codec.Lattice:
    """The steps; measured from a state if there is one to measure."""
    quant = quant or self.config.quant
    if quant.measured and state is not None:
      quant = measured_config(
        state.gaussians,
        state.active,
        state.mse,
        quant,
        size=self.image.shape[:2],
        transform=self.transform,
      )
    return lattice_of(
      quant,
      self.image.shape[2],
      self.transform,
      weights=self.config.fit.channel_weights,
    )

  def header(self, lattice: codec.Lattice) -> codec.Header:
    """What the file says besides its splats."""
    first = self.maps[0]
    if is_plain(self.maps):
      told = {
        "bit_depth": first.bit_depth,
        "color_transform": first.color_transform,
        "has_alpha": first.has_alpha,
      }
    else:
      told = {"maps": self.maps}
    fit, raster = self.config.fit, self.config.fit.raster
    return codec.Header(
      height=self.image.shape[0],
      width=self.image.shape[1],
      channels=self.image.shape[2],
      num_gaussians=fit.num_gaussians,
      lattice=lattice,
      blend=raster.blend,
      top_k=raster.top_k,
      cutoff=round(raster.cutoff * 256),
      edge=raster.edge,
      epsilon=round(raster.epsilon * 2**24),
      gamma=round(self.config.gamma * GAMMA_ONE),
      lanes=self.config.lanes,
      icc=self.icc,
      **told,
    )

  def encode(
    self, gaussians: Gaussians2D, active: jax.Array, lattice: codec.Lattice
  ) -> bytes:
    """The file of a fit of this image."""
    return encode_gaussians(gaussians, active, self.header(lattice))

  def psnr_db(self, pictures: Mapping[str, np.ndarray]) -> float:
    """PSNR of decoded maps, over the values that the file stores.

    Args:
      pictures: From `decompress.draw_maps`.

    Returns:
      dB, at most 120. Under a curve it is the PSNR of what the curve gives, and
      of premultiplied colours if they are stored like that.
    """
    total = sum(self._squared_errors(pictures).values())
    return -10 * math.log10(max(total / self.image.size, 1e-12))

  def map_psnr_db(self, pictures: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`psnr_db` of each map, by name."""
    pixels = self.image[..., 0].size
    totals = self._squared_errors(pictures)
    return {
      one.name: -10
      * math.log10(max(totals[one.name] / (pixels * one.channels), 1e-12))
      for one in self.maps
    }

  def _squared_errors(self, pictures) -> dict[str, float]:
    """Their sums over each map."""
    first, totals = 0, {}
    height, width, _ = self.image.shape
    rows = max(_BLOCK_PX // width, 1)
    for one in self.maps:
      last, total = first + one.channels, 0.0
      for top in range(0, height, rows):
        band = slice(top, top + rows)
        error = to_coded(levels_to_float(pictures[one.name][band]), one)
        error = error.astype(np.float64) - self.image[band, :, first:last]
        total += float(np.vdot(error, error))
      totals[one.name] = total
      first = last
    return totals


def _checked_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  mask = np.asarray(mask, np.float32)
  if mask.shape != size:
    raise ValueError(f"mask must be (H, W) = {size}, got {mask.shape}")
  low, high = float(mask.min()), float(mask.max())
  # Where rows or columns do not count at all, a fit takes them for padding.
  if not 0.0 < low <= high <= 1.0:  # True for NaN too.
    raise ValueError(f"mask must be in (0, 1], got {low} to {high}")
  return mask


def encode_gaussians(
  gaussians: Gaussians2D, active: jax.Array, header: codec.Header
) -> bytes:
  """Rounds the active Gaussians and writes them.

  Args:
    gaussians: N Gaussians.
    active: (N,) bool.
    header: Lattice, size, transform; its number of Gaussians is replaced.

  Returns:
    The file.
  """
  active = np.asarray(active)
  header = dataclasses.replace(header, num_gaussians=int(active.sum()))
  symbols = _to_symbols(
    gaussians,
    device_lattice(header.lattice),
    height=header.height,
    width=header.width,
    transform=header.transform,
  )
  symbols = jax.tree.map(lambda leaf: np.asarray(leaf)[active], symbols)
  return codec.encode(header, symbols)


# The size is no constant of the program: images of a batch have many.
_to_symbols = jax.jit(to_symbols, static_argnames=("transform",))


def default_config(height: int, width: int) -> CompressConfig:
  """The "default" preset with a number of Gaussians for the size."""
  return preset("default", num_gaussians=default_num_gaussians(height, width))
