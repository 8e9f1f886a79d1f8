"""Image to bytes and back: the glue, to be read from top to bottom."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs import codec
from jaxgs.binning import default_max_pairs
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.config import (
  CompressConfig,
  FitConfig,
  QuantConfig,
  RasterSpec,
  default_num_gaussians,
  preset,
)
from jaxgs.fit import FitState, fit_chunk, init_fit, resolve
from jaxgs.quantize import (
  device_lattice,
  from_symbols,
  lattice_of,
  measured_config,
  to_symbols,
)
from jaxgs.rasterize import pairs_of, render
from jaxgs.types import Gaussians2D

# Pixels of one band of rows when decoding: bounds the memory at any size.
_BAND_PX = 1 << 22

# A decoder draws at most this many pixels and tile-splat pairs unless told
# otherwise: 8192 x 8192 px, and three times what a fit of 500 000 splats has
# there (about a minute on two cores through the xla backend). A crafted file
# of a few kB could ask for hours.
MAX_PIXELS = 1 << 26
MAX_PAIRS = 1 << 24

Report = Callable[[FitState], None]


def fit_image(
  key: jax.Array,
  image: jax.Array,
  config: FitConfig,
  *,
  lattice: codec.Lattice | None = None,
  transform: str = "none",
  importance: jax.Array | None = None,
  state: FitState | None = None,
  until: int | None = None,
  report: Report | None = None,
) -> FitState:
  """Fits one image from the host: reports, stops early, makes room.

  Args:
    key: PRNG key.
    image: (H, W, C) float32 in [0, 1].
    config: Settings.
    lattice: Round from `config.quantize_step` on (or as long before the end,
      if an early stop brings that forward).
    transform: Colour transform of the quantiser.
    importance: (H, W), a density for the first Gaussians.
    state: Go on from here instead of from the start.
    until: Stop at this step; None: at the end.
    report: Called with the state after every chunk.

  Returns:
    The last state. Parameters are not rounded yet.

  Raises:
    ValueError: More Gaussians than pixels.
  """
  config = resolve(config)
  image = jnp.asarray(image, jnp.float32)
  steps_on_device = None if lattice is None else device_lattice(lattice)
  if state is None:
    state = init_fit(key, image, config, importance=importance)
  decay_steps = config.num_steps - config.decay_step
  while True:
    step, decay_step = int(state.step), int(state.decay_step)
    end = min(
      decay_step + decay_steps, config.num_steps if until is None else until
    )
    if step >= end:
      return state
    turn = decay_step + config.quantize_step - config.decay_step
    quantized = lattice is not None and step >= turn
    stops = [end] if quantized or lattice is None else [end, turn]
    chunk_end = step - step % config.chunk_steps + config.chunk_steps
    new = fit_chunk(
      state,
      image,
      config,
      lattice=steps_on_device if quantized else None,
      transform=transform,
      num_steps=min(chunk_end, *stops) - step,
    )
    if int(new.dropped):
      # Splats were missing from the picture: the same steps again with room.
      config = _with_more_pairs(config, image.shape[:2])
      continue
    state = new._replace(past_mse=jnp.append(new.past_mse[1:], new.mse))
    if int(state.step) < decay_step and _has_stalled(state, config):
      state = state._replace(decay_step=state.step)
    # Last: what is reported is all that a later run needs to go on.
    if report is not None:
      report(state)


def _has_stalled(state: FitState, config: FitConfig) -> bool:
  """Whether the PSNR gained too little over the last `stop_steps` steps."""
  if config.stop_gain_db <= 0 or not bool(jnp.all(state.active)):
    return False
  before = float(state.past_mse[0])
  now = max(float(state.past_mse[-1]), 1e-12)
  # inf before there were as many steps: then the gain is infinite.
  return 10.0 * np.log10(before / now) < config.stop_gain_db


def _with_more_pairs(config: FitConfig, size: tuple[int, int]) -> FitConfig:
  """The config with twice the room for tile-splat pairs."""
  spec = config.raster
  pairs = spec.max_pairs or default_max_pairs(
    config.num_gaussians, *size, spec.tile
  )
  return dataclasses.replace(
    config, raster=dataclasses.replace(spec, max_pairs=2 * pairs)
  )


def to_float(image: np.ndarray) -> tuple[np.ndarray, int]:
  """Pixels as float32 in [0, 1], and their bit depth.

  Args:
    image: (H, W) or (H, W, C), uint8, uint16 or float in [0, 1].

  Returns:
    (H, W, C) float32; 8 or 16 (8 for floats).

  Raises:
    ValueError: Another shape or dtype, no pixels, or values that are not
      finite or outside [0, 1].
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
  if not (low >= 0.0 and high <= 1.0):  # False for NaN too.
    raise ValueError(f"image must be in [0, 1], got {low} to {high}")
  return image.astype(np.float32), 8


def header_of(
  image: np.ndarray,
  config: CompressConfig,
  lattice: codec.Lattice,
  *,
  bit_depth: int,
  has_alpha: bool,
) -> codec.Header:
  """What the file says besides its splats.

  Args:
    image: (H, W, C).
    config: Settings.
    lattice: Steps.
    bit_depth: 8 or 16.
    has_alpha: The last channel is alpha.

  Returns:
    A header for `config.fit.num_gaussians` splats.
  """
  raster = config.fit.raster
  return codec.Header(
    height=image.shape[0],
    width=image.shape[1],
    channels=image.shape[2],
    num_gaussians=config.fit.num_gaussians,
    lattice=lattice,
    bit_depth=bit_depth,
    blend=raster.blend,
    top_k=raster.top_k,
    cutoff=round(raster.cutoff * 256),
    edge=raster.edge,
    epsilon=round(raster.epsilon * 2**24),
    color_transform=transform_of(image.shape[2], has_alpha),
    has_alpha=has_alpha,
    gamma=round(config.gamma * GAMMA_ONE),
    lanes=config.lanes,
  )


def transform_of(channels: int, has_alpha: bool) -> str:
  """YCoCg where the first three channels are a colour."""
  return "ycocg" if channels - has_alpha in (3, 4) else "none"


def spec_of(header: codec.Header, backend: str = "auto") -> RasterSpec:
  """How a decoder draws a file."""
  return RasterSpec(
    blend=header.blend,
    top_k=header.top_k,
    cutoff=header.cutoff / 256,
    edge=header.edge,
    epsilon=header.epsilon / 2**24,
    backend=backend,
  )


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
    transform=header.color_transform,
  )
  symbols = jax.tree.map(lambda leaf: np.asarray(leaf)[active], symbols)
  return codec.encode(header, symbols)


_to_symbols = jax.jit(
  to_symbols, static_argnames=("height", "width", "transform")
)
_from_symbols = jax.jit(from_symbols, static_argnames=("transform",))


def compress(
  image: np.ndarray,
  config: CompressConfig | None = None,
  *,
  key: jax.Array | None = None,
  bit_depth: int | None = None,
  has_alpha: bool | None = None,
  importance: jax.Array | None = None,
  report: Report | None = None,
) -> bytes:
  """Turns an image into the bytes of a `.jgs` file.

  Args:
    image: (H, W) or (H, W, C) uint8, uint16, or float in [0, 1].
    config: Settings; CompressConfig() when None, with a number of Gaussians
      that suits the size.
    key: PRNG key; a fixed one when None.
    bit_depth: 8 or 16, of the decoded picture; the image's when None.
    has_alpha: Whether the last channel is alpha; for 2 and 4 channels when
      None.
    importance: (H, W), a density for the first Gaussians.
    report: Called with the FitState after every chunk of steps.

  Returns:
    The file.

  Raises:
    ValueError: The image or a setting is out of range.
  """
  job = Job.of(image, config, bit_depth=bit_depth, has_alpha=has_alpha)
  key = jax.random.key(0) if key is None else key
  lattice = job.lattice()
  fit = functools.partial(
    fit_image,
    key,
    job.target,
    job.config.fit,
    transform=job.transform,
    importance=importance,
    report=report,
  )
  state = None
  if job.config.quant.bits is not None:
    # Ranges can only be measured once there are Gaussians to measure.
    state = fit(until=job.config.fit.quantize_step)
    lattice = job.lattice(state)
  state = fit(lattice=lattice, state=state)
  return job.encode(state.gaussians, state.active, lattice)


@dataclasses.dataclass(frozen=True)
class Job:
  """An image and the settings to compress it with, checked.

  Attributes:
    image: (H, W, C) float32 in [0, 1].
    config: Settings.
    bit_depth: Of the decoded picture.
    has_alpha: The last channel is alpha.
  """

  image: np.ndarray
  config: CompressConfig
  bit_depth: int
  has_alpha: bool

  @classmethod
  def of(cls, image, config=None, *, bit_depth=None, has_alpha=None) -> "Job":
    """Checks the arguments of `compress` and fills in what is None."""
    pixels, depth = to_float(image)
    height, width, channels = pixels.shape
    config = config or default_config(height, width)
    if has_alpha is None:
      has_alpha = channels in (2, 4)
    job = cls(pixels, config, bit_depth or depth, has_alpha)
    codec.validate_header(job.header(job.lattice()))
    return job

  @property
  def target(self) -> jax.Array:
    """What the fit sees: the image to the power of gamma."""
    return jnp.asarray(self.image) ** jnp.float32(self.config.gamma)

  @property
  def transform(self) -> str:
    """The colour transform."""
    return transform_of(self.image.shape[2], self.has_alpha)

  def lattice(
    self, state: FitState | None = None, quant: QuantConfig | None = None
  ) -> codec.Lattice:
    """The steps; measured from a state if the config asks for bits."""
    quant = quant or self.config.quant
    if quant.bits is not None and state is not None:
      quant = measured_config(
        state.gaussians,
        state.active,
        quant,
        size=self.image.shape[:2],
        transform=self.transform,
      )
    return lattice_of(quant, self.image.shape[2], self.transform)

  def header(self, lattice: codec.Lattice) -> codec.Header:
    """What the file says besides its splats."""
    return header_of(
      self.image,
      self.config,
      lattice,
      bit_depth=self.bit_depth,
      has_alpha=self.has_alpha,
    )

  def encode(
    self, gaussians: Gaussians2D, active: jax.Array, lattice: codec.Lattice
  ) -> bytes:
    """The file of a fit of this image."""
    return encode_gaussians(gaussians, active, self.header(lattice))


def default_config(height: int, width: int) -> CompressConfig:
  """The "default" preset with a number of Gaussians for the size."""
  return preset("default", num_gaussians=default_num_gaussians(height, width))


def decode_gaussians(data: bytes) -> tuple[Gaussians2D, codec.Header]:
  """Reads a file into Gaussians.

  Args:
    data: A `.jgs` file.

  Returns:
    Gaussians2D in pixels of the stored image, and the header.

  Raises:
    BitstreamError: The file is damaged or not a `.jgs` file.
  """
  header, symbols = codec.decode(data)
  gaussians = _from_symbols(
    symbols, device_lattice(header.lattice), transform=header.color_transform
  )
  return gaussians, header


def decompress(
  data: bytes,
  *,
  scale: float = 1.0,
  crop: tuple[int, int, int, int] | None = None,
  backend: str = "auto",
  max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
  """Turns a `.jgs` file into pixels.

  Args:
    data: The file.
    scale: Output pixels per stored pixel, > 0; sizes are rounded.
    crop: (x, y, width, height) in output pixels; only that window is drawn.
    backend: See RasterSpec.
    max_pixels: Larger outputs are refused.

  Returns:
    (H, W, C) uint8 or uint16.

  Raises:
    BitstreamError: The file is damaged, or would take absurdly long to draw.
    ValueError: The scale or window is out of range.
  """
  gaussians, header = decode_gaussians(data)
  height, width = output_size(header, scale)
  x, y, w, h = crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise ValueError(
      f"crop must lie within the picture of {width}x{height} px, got"
      f" x={x}, y={y}, width={w}, height={h}"
    )
  if w * h > max_pixels:
    raise ValueError(f"{w}x{h} px is over the limit of {max_pixels} px")
  spec = spec_of(header, backend)
  window = {"scale": scale, "width": w}
  pairs = pairs_of(gaussians, height=h, offset=(x, y), spec=spec, **window)
  if pairs > MAX_PAIRS:
    raise codec.BitstreamError(
      f"the splats touch {pairs:.3g} tiles in all, over the limit of"
      f" {MAX_PAIRS}: not drawn"
    )
  peak = 2**header.bit_depth - 1
  dtype = np.uint8 if header.bit_depth == 8 else np.uint16
  out = np.empty((h, w, header.channels), dtype)
  gamma = header.gamma / GAMMA_ONE
  rows = max(_BAND_PX // w, 1)
  for top in range(0, h, rows):
    band = min(rows, h - top)
    image = render(
      gaussians, height=band, offset=(x, y + top), spec=spec, **window
    ).image
    image = np.clip(np.asarray(image), 0.0, 1.0)
    if gamma != 1.0:
      image = image ** (1.0 / gamma)
    out[top : top + band] = np.rint(image * peak)
  return out


def output_size(header: codec.Header, scale: float) -> tuple[int, int]:
  """Height and width of the picture drawn at a scale.

  Raises:
    ValueError: The scale is not positive or not finite.
  """
  if not 0 < scale < 1e6:
    raise ValueError(f"scale must be positive and finite, got {scale}")
  sides = (header.height, header.width)
  return tuple(max(1, round(side * scale)) for side in sides)
