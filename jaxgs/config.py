"""Settings: frozen, hashable dataclasses with their ranges and reasons.

What sets a shape or chooses code is here and static under jit. What a sweep
varies while shapes stay (learning rates) is also a leaf that `fit` takes.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping


def _check(condition: bool, name: str, value, wanted: str) -> None:
  if not condition:
    raise ValueError(f"{name} must be {wanted}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class RasterSpec:
  """How splats become pixels.

  Attributes:
    blend: "norm": c = sum w f / (sum w + epsilon) over the `top_k` largest
      weights of the pixel; "sum": c = sum w f over all.
    top_k: Splats blended per pixel in "norm"; 0 means all. Ties go to the
      lower index.
    cutoff: A splat ends where exp(log_weight - e) = exp(-cutoff).
    edge: "smooth": that value is subtracted inside, so that the picture is
      continuous there; "sharp": it is not (other programs' Gaussians).
    epsilon: Added to the sum of weights: far from all splats the picture
      fades to 0.
    tile: Side of a tile, px: 4, 8, 16, 32, or 0 for what suits the backend.
      Changes speed, never the picture.
    max_pairs: Capacity of the list of tile-splat pairs; 0 means
      `binning.default_max_pairs`.
    backend: "auto" or a name of `kernels.BACKENDS`; resolved when traced.
  """

  blend: str = "norm"
  top_k: int = 10
  cutoff: float = 6.0
  edge: str = "smooth"
  epsilon: float = 1e-4
  tile: int = 0
  max_pairs: int = 0
  backend: str = "auto"

  def __post_init__(self):
    _check(self.blend in ("norm", "sum"), "blend", self.blend, "norm or sum")
    _check(0 <= self.top_k <= 255, "top_k", self.top_k, "in 0..255")
    _check(0 < self.cutoff <= 80, "cutoff", self.cutoff, "in (0, 80]")
    _check(
      self.edge in ("smooth", "sharp"), "edge", self.edge, "smooth or sharp"
    )
    _check(0 <= self.epsilon <= 1, "epsilon", self.epsilon, "in [0, 1]")
    _check(
      self.tile in (0, 4, 8, 16, 32), "tile", self.tile, "0, 4, 8, 16 or 32"
    )
    _check(
      0 <= self.max_pairs < 2**31 - 1, "max_pairs", self.max_pairs, "an int32"
    )


@dataclasses.dataclass(frozen=True)
class Rates:
  """Learning rates of Adam per field.

  Attributes:
    mean: In units of the mean spacing sqrt(H W / N): 0.014 is 0.12 px for
      5000 Gaussians on 768x512.
    log_scale: Nats (or px, 1 / px: see FitConfig.scale_parameter).
    angle: Radians.
    log_weight: Nats.
    feature: Image range per step.
  """

  mean: float = 0.014
  log_scale: float = 0.02
  angle: float = 0.02
  log_weight: float = 0.02
  feature: float = 0.007

  def times(self, factor: float) -> "Rates":
    """All rates times a factor."""
    values = dataclasses.astuple(self)
    return Rates(*(factor * value for value in values))


@dataclasses.dataclass(frozen=True)
class FitConfig:
  """How an image becomes Gaussians.

  Attributes:
    num_gaussians: N, the capacity, all of it in use at the end.
    num_steps: Optimiser steps.
    chunk_steps: Steps per call of `fit_chunk`; growth, quantisation and
      reports happen between chunks.
    init: "gradient" or "random" placement of the first Gaussians.
    random_ratio: Share of the first Gaussians placed uniformly.
    initial_ratio: Share of N that is there from the start.
    growth_rounds: In how many rounds the rest is added where the error is.
      Few at the start and eight early rounds are 0.3 dB better than half at
      the start and four rounds over 40 % of the steps (six Kodak images,
      N = 5000, 5000 steps: 33.26 against 32.94 dB).
    growth_every: Steps between rounds, a multiple of chunk_steps.
    relocate_ratio: Share of N that moves at once, every `growth_every` steps
      once growth is over: the splats that would be missed least go where the
      error is. Worth 0.17 dB (eight Kodak crops, N = 1250, 2000 steps; 2 %
      eighteen times, 3 or 6 % eight times: 30.79, 30.77, 30.77 dB against
      30.63). 0: never.
    relocate_until: Share of the steps after which that ends.
    init_scale: First standard deviation in units of the local spacing.
    growth_scale: The same for added and moved Gaussians, of the mean spacing.
      (There, 0.12, 0.2, 0.3, 0.45: 30.83, 30.88, 30.79, 30.57 dB.)
    scale_parameter: What the optimiser moves for a standard deviation s:
      "log" s, "inverse" 1 / s or "linear" s.
    use_weight: Optimise an amplitude per Gaussian.
    l1, l2, ssim: Weights of the loss terms.
    channel_weights: What an error in each channel costs, positive; only their
      ratios count. Equal when empty.
    rates: Learning rates.
    decay_start: Share of the steps before the rates fall.
    decay_to: Factor on the rates at the end of the cosine.
    log_scale_range, log_weight_range, feature_range: Bounds after each step.
      Without them fits grow parameters that no quantiser can hold (log-weights
      from -6 to 30, colours from -4 to 5); with them the mean over six Kodak
      images, N = 5000, 5000 steps, is the same (32.94 dB).
    quantize_start: Share of the steps after which the parameters settle on
      the lattice, when one is given.
    quantized_decay_to: `decay_to` from there on: what is still free must make
      up for what has settled.
    bit_price: Of a fit that is to be rounded: what a bit of a symbol may cost
      in squared error, 1 where both are in balance; values are drawn to those
      of the splats around. At the same bits 0.5 gives +0.16, +0.13, +0.10 dB
      at 0.15, 0.5, 1 bit per pixel (six Kodak images, 2000 steps); 1 is too
      much.
    noise: Of a fit that is to be rounded: the picture is drawn twice per step,
      with random shifts of all parameters that are not rounded yet and with
      the opposite shifts, of this size (1: that of rounding). Fits that are
      long do not grow brittle then: +0.2 dB at the same bits with 6000 steps
      of half the rates, where without it nothing is gained over 2000. (One
      draw with shifts of its own loses 0.8 dB.)
    stop_gain_db: Early stop: the decay starts at once when the PSNR gained
      less than this over the last `stop_steps` steps; 0 never.
    stop_steps: See `stop_gain_db`.
    band_rows: The picture is drawn and compared by bands of so many rows, which
      bounds the memory and changes sums by their rounding only; not with
      `ssim`. 0: all at once up to 2^25 pixels, then bands of at most about
      2^23.
    raster: How splats become pixels.
  """

  num_gaussians: int = 5000
  num_steps: int = 2000
  chunk_steps: int = 50
  init: str = "gradient"
  random_ratio: float = 0.1
  initial_ratio: float = 0.1
  growth_rounds: int = 8
  growth_every: int = 50
  relocate_ratio: float = 0.02
  relocate_until: float = 0.65
  init_scale: float = 0.6
  growth_scale: float = 0.2
  scale_parameter: str = "log"
  use_weight: bool = True
  l1: float = 0.0
  l2: float = 1.0
  ssim: float = 0.0
  channel_weights: tuple[float, ...] = ()
  rates: Rates = Rates()
  decay_start: float = 0.7
  decay_to: float = 0.03
  log_scale_range: tuple[float, float] = (-1.2, 6.0)
  log_weight_range: tuple[float, float] = (-4.0, 4.0)
  feature_range: tuple[float, float] = (-1.0, 2.0)
  quantize_start: float = 0.8
  quantized_decay_to: float = 0.5
  bit_price: float = 0.5
  noise: float = 0.0
  stop_gain_db: float = 0.0
  stop_steps: int = 500
  band_rows: int = 0
  raster: RasterSpec = RasterSpec()

  def __post_init__(self):
    _check(self.num_gaussians >= 1, "num_gaussians", self.num_gaussians, ">= 1")
    _check(self.num_steps >= 1, "num_steps", self.num_steps, ">= 1")
    _check(self.chunk_steps >= 1, "chunk_steps", self.chunk_steps, ">= 1")
    _check(
      self.growth_every % self.chunk_steps == 0,
      "growth_every",
      self.growth_every,
      f"a multiple of chunk_steps ({self.chunk_steps})",
    )
    _check(
      self.num_grown == 0
      or self.growth_rounds * self.growth_every < self.num_steps,
      "growth_rounds * growth_every",
      self.growth_rounds * self.growth_every,
      f"less than num_steps ({self.num_steps})",
    )
    _check(
      0 < self.initial_ratio <= 1,
      "initial_ratio",
      self.initial_ratio,
      "in (0, 1]",
    )
    _check(
      self.init in ("gradient", "random"),
      "init",
      self.init,
      "gradient or random",
    )
    _check(
      self.scale_parameter in ("log", "inverse", "linear"),
      "scale_parameter",
      self.scale_parameter,
      "log, inverse or linear",
    )
    for name in (
      "random_ratio",
      "relocate_ratio",
      "relocate_until",
      "decay_start",
      "decay_to",
      "quantize_start",
      "quantized_decay_to",
    ):
      share = getattr(self, name)
      _check(0 <= share <= 1, name, share, "in [0, 1]")
    for name in ("init_scale", "growth_scale"):
      _check(getattr(self, name) > 0, name, getattr(self, name), "positive")
    for name in ("log_scale_range", "log_weight_range", "feature_range"):
      low, high = getattr(self, name)
      _check(low < high, name, (low, high), "(low, high)")
    for name in ("bit_price", "noise"):
      size = getattr(self, name)
      _check(0 <= size <= 8, name, size, "in [0, 8]")
    _check(self.growth_rounds >= 0, "growth_rounds", self.growth_rounds, ">= 0")
    _check(
      self.l1 >= 0
      and self.l2 >= 0
      and self.ssim >= 0
      and self.l1 + self.l2 + self.ssim > 0,
      "l1, l2, ssim",
      (self.l1, self.l2, self.ssim),
      ">= 0 and not all 0",
    )
    _check(self.band_rows >= 0, "band_rows", self.band_rows, ">= 0")
    _check(
      self.band_rows == 0 or self.ssim == 0,
      "band_rows",
      self.band_rows,
      "0 with ssim, whose windows reach over rows",
    )
    _check(
      all(0 < weight < math.inf for weight in self.channel_weights),
      "channel_weights",
      self.channel_weights,
      "positive and finite",
    )

  @property
  def num_initial(self) -> int:
    """Gaussians that are there from the start."""
    if self.growth_rounds == 0:
      return self.num_gaussians
    return max(1, math.ceil(self.num_gaussians * self.initial_ratio))

  @property
  def num_grown(self) -> int:
    """Gaussians added per round (fewer in the last)."""
    if self.growth_rounds == 0:
      return 0
    rest = self.num_gaussians - self.num_initial
    return -(-rest // self.growth_rounds)

  @property
  def num_relocated(self) -> int:
    """Gaussians that move at once."""
    return math.ceil(self.num_gaussians * self.relocate_ratio)

  @property
  def relocate_step(self) -> int:
    """The last step after which Gaussians move."""
    return round(self.num_steps * self.relocate_until)

  @property
  def decay_step(self) -> int:
    """The step where the rates begin to fall."""
    return round(self.num_steps * self.decay_start)

  @property
  def quantize_step(self) -> int:
    """The step from which parameters are quantised."""
    chunks = self.num_steps * self.quantize_start / self.chunk_steps
    return min(round(chunks) * self.chunk_steps, self.num_steps)


@dataclasses.dataclass(frozen=True)
class FieldBits:
  """Bits per field, for a lattice measured from fitted Gaussians.

  Each field's step is its range, from the smallest to the largest value, over
  2^bits - 1. Centres count in bits over the longer side of the image and
  angles in bits over half a turn, both for the median splat: the lattice
  follows each splat's size and shape.

  Attributes:
    position, scale, angle, weight, feature: Bits, 1 to 16.
  """

  position: int = 12
  scale: int = 7
  angle: int = 7
  weight: int = 6
  feature: int = 8

  def __post_init__(self):
    for field in dataclasses.fields(self):
      bits = getattr(self, field.name)
      _check(1 <= bits <= 16, f"bits of {field.name}", bits, "in 1..16")


@dataclasses.dataclass(frozen=True)
class QuantConfig:
  """Steps of the lattice that parameters are rounded to.

  The defaults spend the same error on every field of every splat: a step is
  inversely proportional to the root of what the field's error costs (the
  diagonal of J^T J, measured on eight Kodak crops, N = 400 and 1250), which
  powers of the splat's area s_major s_minor and of its amplitude tell well.
  Steps below are those of a splat of area 1 px^2 and log-weight 0.

  How large that error should be follows from the fit: where steps and splats
  are in balance, rounding adds a fixed share to the squared error that is left,
  mse H W / N per splat. That holds over N: against steps that suit N = 1250 it
  is worth 0.4 dB at N = 400 and 0.3 dB at N = 3000. From image to image less
  than that is best, since where much is left more splats tend to help less:
  all steps are proportional to mse^0.3 (H W / N)^0.5 (exponents 0, 0.3, 0.5:
  29.48, 29.50, 29.44 dB at 0.5 bit per pixel).

  Attributes:
    scale_step: Of the log standard deviations, nats.
    position_precision: log2 of a standard deviation over the step of the
      centre along that axis. Steps are powers of two: 3 gives 1/8 to 1/4.
    angle_step: q in the angle step q r / (1 - r^2) of a splat with axis ratio
      r: the rounder, the coarser; radians.
    weight_step: Of the log-weights, nats.
    luma_step: Of the first channel, image range.
    chroma_step: Of the two colour differences.
    other_step: Of channels outside the colour transform, alpha included.
    adaptive: Whether steps follow the error of the fit, the powers below are
      used, and lattices of centres follow the long axes. If not, the precision
      of a centre is that of the minor axis along both.
    geometry_power: Steps of centre, angle and log-weight fall with the area to
      this power.
    feature_power: Likewise those of the features.
    feature_weight_power: They fall with the amplitude to this power, too.
    coarseness: Multiplies all steps.
    bits: Take bits per field and measured ranges instead of all that.
  """

  scale_step: float = 0.14
  position_precision: float = 2.5
  angle_step: float = 0.31
  weight_step: float = 0.57
  luma_step: float = 0.134
  chroma_step: float = 0.298
  other_step: float = 0.134
  adaptive: bool = True
  geometry_power: float = 0.27
  feature_power: float = 0.475
  feature_weight_power: float = 0.36
  coarseness: float = 1.0
  bits: FieldBits | None = None

  @property
  def measured(self) -> bool:
    """Whether the steps depend on the Gaussians that they are to round."""
    return self.adaptive or self.bits is not None


@dataclasses.dataclass(frozen=True)
class CompressConfig:
  """How an image becomes a file.

  Attributes:
    fit: How the Gaussians are found.
    quant: How they are rounded.
    gamma: The fit sees image^gamma, the decoder applies the inverse; 1/1024 to
      16.
    lanes: Of the entropy coder; 0: by the number of symbols.
  """

  fit: FitConfig = FitConfig()
  quant: QuantConfig = QuantConfig()
  gamma: float = 1.0
  lanes: int = 0

  def __post_init__(self):
    _check(1 / 1024 <= self.gamma <= 16, "gamma", self.gamma, "in [1/1024, 16]")


# Steps of the optimiser: the time to fit is proportional to them.
PRESET_STEPS = {"fast": 440, "default": 2000, "best": 6000}

# Pixels per Gaussian when nobody asks for a number, a size or a quality: about
# 0.6 bit per pixel.
PIXELS_PER_GAUSSIAN = 80


def default_num_gaussians(height: int, width: int) -> int:
  """The number of Gaussians for an image when none is asked for."""
  pixels = height * width
  return min(pixels, max(16, pixels // PIXELS_PER_GAUSSIAN))


def preset(
  name: str, *, num_gaussians: int, num_steps: int | None = None
) -> CompressConfig:
  """The settings of a preset.

  Args:
    name: "fast", "default" or "best".
    num_gaussians: N.
    num_steps: Instead of the preset's number of optimiser steps.

  Returns:
    CompressConfig whose growth is spread over the first 20 % of the steps.

  Raises:
    ValueError: The name is unknown or a number out of range.
  """
  _check(name in PRESET_STEPS, "preset", name, " or ".join(PRESET_STEPS))
  steps = PRESET_STEPS[name] if num_steps is None else num_steps
  chunk = min(50, max(1, steps // 40))
  growth = math.ceil(steps / 40 / chunk) * chunk
  # Long fits gain from small steps, if shaking keeps them from getting brittle.
  best = name == "best"
  fit = FitConfig(
    num_gaussians=num_gaussians,
    num_steps=steps,
    chunk_steps=chunk,
    growth_every=growth,
    growth_rounds=8 if steps > 8 else 0,
    rates=Rates().times(0.5) if best else Rates(),
    noise=0.5 if best else 0.0,
  )
  return CompressConfig(fit=fit)


def config_from_dict(cls, mapping: Mapping):
  """Builds a settings dataclass from plain nested mappings.

  Args:
    cls: A dataclass of this module, or one made like them: fields are bool,
      int, float, str, tuples of these, dataclasses, or one of them or None.
    mapping: Field names to values, with a mapping for a nested dataclass. A
      missing field keeps its default. A list serves as a tuple, and an int as
      a float.

  Returns:
    An instance of `cls`.

  Raises:
    ValueError: A name is unknown, or a value has the wrong type (the dotted
      name is given), or is out of range.
  """
  return _typed(cls, mapping, "")


def _typed(kind, value, name: str):
  """The value as the annotated type `kind`."""
  options = typing.get_args(kind)
  if type(None) in options:
    if value is None:
      return None
    (kind,) = (option for option in options if option is not type(None))
  if dataclasses.is_dataclass(kind):
    _check(isinstance(value, Mapping), name or "the config", value, "a mapping")
    kinds = typing.get_type_hints(kind)
    names = {key: f"{name}.{key}" if name else str(key) for key in value}
    for key in value:
      if key not in kinds:
        raise ValueError(
          f"unknown setting {names[key]}; {name or 'the config'} has"
          f" {', '.join(kinds)}"
        )
    return kind(**{k: _typed(kinds[k], v, names[k]) for k, v in value.items()})
  if typing.get_origin(kind) is tuple:
    if options[-1] is ... and isinstance(value, (list, tuple)):
      options = options[:1] * len(value)
    wanted = f"{len(options)} values"
    _check(isinstance(value, (list, tuple)), name, value, wanted)
    _check(len(value) == len(options), name, value, wanted)
    return tuple(
      _typed(option, item, f"{name}[{i}]")
      for i, (option, item) in enumerate(zip(options, value, strict=True))
    )
  if kind is float and type(value) is int:
    value = float(value)
  # Not isinstance: True is an int.
  _check(type(value) is kind, name, value, f"of type {kind.__name__}")
  return value
