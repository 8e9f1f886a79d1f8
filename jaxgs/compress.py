"""Image to bytes: the glue, to be read from top to bottom."""

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
  default_num_gaussians,
  preset,
)
from jaxgs.fit import fit_chunk, resolve
from jaxgs.quantize import (
  device_lattice,
  lattice_of,
  measured_config,
  to_symbols,
)
from jaxgs.state import FitState, init_fit
from jaxgs.types import Gaussians2D

Report = Callable[[FitState], None]


def fit_image(
  key: jax.Array,
  image: jax.Array,
  config: FitConfig,
  *,
  lattice: codec.Lattice | None = None,
  quant: QuantConfig | None = None,
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
    quant: See `fit_chunk`.
    transform: Colour transform of the quantiser.
    importance: (H, W), a density for the first Gaussians.
    state: Go on from here instead of from the start.
    until: Stop at this step; None: at the end. Without a lattice the fit then
      also stops where rounding would begin, even if an early stop has brought
      that forward: it is to go on with one.
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
    turn = decay_step + config.quantize_step - config.decay_step
    if lattice is None and until is not None:
      end = min(end, turn)
    if step >= end:
      return state
    quantized = lattice is not None and step >= turn
    stops = [end] if quantized or lattice is None else [end, turn]
    chunk_end = step - step % config.chunk_steps + config.chunk_steps
    new = fit_chunk(
      state,
      image,
      config,
      lattice=steps_on_device if quantized else None,
      quant=quant,
      transform=transform,
      num_steps=min(chunk_end, *stops) - step,
    )
    if int(new.dropped):
      # Splats were missing from the picture: the same steps again with room.
      config = with_more_pairs(config, image.shape[:2])
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


def with_more_pairs(config: FitConfig, size: tuple[int, int]) -> FitConfig:
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


# The size is no constant of the program: images of a batch have many.
_to_symbols = jax.jit(to_symbols, static_argnames=("transform",))


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
    quant=job.config.quant,
    transform=job.transform,
    importance=importance,
    report=report,
  )
  state = None
  if job.config.quant.measured:
    # Steps can only be measured once there are Gaussians to measure.
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
    if config.fit.num_gaussians > height * width:
      raise ValueError(
        f"num_gaussians must be at most {height * width} (the pixels of the"
        f" image), got {config.fit.num_gaussians}"
      )
    if has_alpha is None:
      has_alpha = channels in (2, 4)
    job = cls(pixels, config, bit_depth or depth, has_alpha)
    codec.validate_header(job.header(job.lattice()))
    return job

  @property
  def target(self) -> np.ndarray:
    """What the fit sees: the image to the power of gamma."""
    return self.image ** np.float32(self.config.gamma)

  @property
  def transform(self) -> str:
    """The colour transform."""
    return transform_of(self.image.shape[2], self.has_alpha)

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
