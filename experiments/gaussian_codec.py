"""jaxgs as one of the codecs that are compared."""

import dataclasses
import hashlib
import importlib.metadata
import pathlib
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

import jaxgs
from experiments.anchors import Coded
from jaxgs import kernels
from jaxgs.compress import compress
from jaxgs.config import CompressConfig, config_from_dict
from jaxgs.decompress import decompress
from jaxgs.rate_control import TargetError, compress_to_size


class GaussianCodec:
  """Encodes at wanted rates, or at given numbers of Gaussians."""

  def __init__(self, settings: Mapping):
    """Takes the settings.

    Args:
      settings: `target`: "size" for a file per rate, within 3 % (the search
        costs a few short fits), or "points" for one plain fit per pair of
        `points`: N and coarseness, whatever the rates turn out to be.
        `compress`: the fields of a CompressConfig. `seed`: of the PRNG key.

    Raises:
      ValueError: A setting is bad.
    """
    target = settings["target"]
    if target not in ("size", "points"):
      raise ValueError(f"jaxgs.target must be size or points, got {target!r}")
    self._config = config_from_dict(CompressConfig, settings["compress"])
    self._target = target
    self._points = [tuple(point) for point in settings["points"]]
    self._seed = settings["seed"]
    # Which points are asked for is no option: each has a row of its own.
    self.options = {k: v for k, v in settings.items() if k != "points"}
    version = importlib.metadata.version("jaxgs")
    device = jax.devices()[0].device_kind
    self.version = f"jaxgs {version} {_sources()}, {device}"

  def points(self, rates) -> dict[str, object]:
    """The points of the curve by name: rates, or pairs (N, coarseness)."""
    if self._target == "size":
      return {f"{rate:g}": rate for rate in rates}
    return {f"N {n} x{by:g}": (n, by) for n, by in self._points}

  def encoder(self, pixels: np.ndarray) -> Callable[[object], Coded]:
    """Makes files of one picture.

    Args:
      pixels: (H, W, 3) uint8.

    Returns:
      A function from one of `points` to a Coded.
    """
    area = pixels.shape[0] * pixels.shape[1]
    encode = self._at_rate if self._target == "size" else self._at_point

    def timed(point) -> Coded:
      began = time.perf_counter()
      coded = encode(pixels, point, area)
      return coded._replace(seconds=time.perf_counter() - began)

    return timed

  def decode(self, data: bytes) -> np.ndarray:
    """The pixels of a file, (H, W, 3) uint8."""
    return decompress(data)

  def _at_rate(self, pixels, rate: float, area: int) -> Coded:
    num_bytes = round(rate * area / 8)
    key = jax.random.key(self._seed)
    try:
      data = compress_to_size(pixels, num_bytes, self._config, key=key)
    except TargetError as error:
      return Coded(b"", 0.0, str(error), False)
    return Coded(data, 0.0, f"{num_bytes} bytes", True)

  def _at_point(self, pixels, point, area: int) -> Coded:
    n, coarseness = point
    config = dataclasses.replace(
      self._config,
      fit=dataclasses.replace(self._config.fit, num_gaussians=n),
      quant=dataclasses.replace(self._config.quant, coarseness=coarseness),
    )
    data = compress(pixels, config, key=jax.random.key(self._seed))
    return Coded(data, 0.0, f"N {n}, coarseness {coarseness:g}", True)


def _sources() -> str:
  """A digest of the code: a ruler must not mix what two versions made."""
  digest = hashlib.sha256()
  for module in (jaxgs, kernels):
    folder = pathlib.Path(module.__file__).parent
    for path in sorted(folder.rglob("*")):
      if path.suffix in (".py", ".cc", ".h"):
        digest.update(path.read_bytes())
  return digest.hexdigest()[:12]
