"""The codecs to compare with, through Pillow: JPEG, WebP, JPEG 2000, AVIF."""

import io
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, features

# Pillow's range; in that of JPEG 100 would switch parts of the codec off.
_QUALITIES = {"jpeg": range(1, 96), "webp": range(101), "avif": range(101)}
_LIBRARIES = {
  "jpeg": "jpg",
  "webp": "webp",
  "jpeg2000": "jpg_2000",
  "avif": "avif",
}
ANCHORS = tuple(_LIBRARIES)

# JPEG 2000 is asked for a size; a file further off is not of that rate.
_TOLERANCE = 0.03


class Coded(NamedTuple):
  """A file for one point of a curve.

  Attributes:
    data: The file; empty where there is none.
    seconds: Of encoding it, without the search for the setting.
    setting: What the codec was asked for.
    reached: Whether the codec can make files of the rate; if not, `data` is
      the nearest it can do.
  """

  data: bytes
  seconds: float
  setting: str
  reached: bool


class Anchor:
  """One codec of Pillow."""

  def __init__(
    self, name: str, *, choose: str, webp_method: int, avif_speed: int
  ):
    """Takes the settings.

    Args:
      name: One of ANCHORS.
      choose: Which of the two files around a rate is taken: "nearest" in the
        ratio of the sizes, or "below". JPEG 2000 takes the size itself.
      webp_method: 0 (fast) to 6 (small).
      avif_speed: 0 (small) to 10 (fast).

    Raises:
      ValueError: A name is unknown, or this Pillow lacks the codec.
    """
    if name not in ANCHORS:
      raise ValueError(f"a codec must be one of {ANCHORS}, got {name!r}")
    if choose not in ("nearest", "below"):
      raise ValueError(f"choose must be nearest or below, got {choose!r}")
    library = _LIBRARIES[name]
    if not features.check(library):
      raise ValueError(f"this Pillow was built without {name} ({library})")
    self._name, self._choose = name, choose
    self._fixed = {
      "jpeg": {"optimize": True},
      "webp": {"method": webp_method},
      # Without mct the three channels are coded apart: 2 to 4 dB are lost.
      "jpeg2000": {"quality_mode": "rates", "irreversible": True, "mct": 1},
      "avif": {"speed": avif_speed},
    }[name]
    self.options = {"choose": choose, **self._fixed}
    self.version = (
      f"Pillow {Image.__version__}, {library} {features.version(library)}"
    )

  def points(self, rates) -> dict[str, float]:
    """The points of the curve by name: the rates themselves."""
    return {f"{rate:g}": rate for rate in rates}

  def encoder(self, pixels: np.ndarray) -> Callable[[float], Coded]:
    """Makes files of one picture at wanted rates.

    Args:
      pixels: (H, W, 3) uint8.

    Returns:
      A function from bits per pixel to a Coded.
    """
    picture = Image.fromarray(pixels)
    area = pixels.shape[0] * pixels.shape[1]
    tried: dict[int, Coded] = {}  # One search serves the next.

    def at(quality: int) -> Coded:
      if quality not in tried:
        tried[quality] = self._save(picture, f"quality {quality}", quality)
      return tried[quality]

    def encode(rate: float) -> Coded:
      num_bytes = rate * area / 8
      if self._name == "jpeg2000":
        return self._of_size(picture, num_bytes)
      return _search(at, _QUALITIES[self._name], num_bytes, self._choose)

    return encode

  def decode(self, data: bytes) -> np.ndarray:
    """The pixels of a file, (H, W, 3) uint8."""
    with Image.open(io.BytesIO(data)) as picture:
      return np.asarray(picture.convert("RGB"))

  def _of_size(self, picture, num_bytes: float) -> Coded:
    # A layer is named by how many times smaller than the samples it is.
    ratio = picture.width * picture.height * 3 / num_bytes
    coded = self._save(picture, f"ratio {ratio:.4g}", None, [ratio])
    error = abs(len(coded.data) / num_bytes - 1)
    return coded._replace(reached=error <= _TOLERANCE)

  def _save(self, picture, setting: str, quality, layers=None) -> Coded:
    asked = {"quality_layers": layers} if layers else {"quality": quality}
    buffer = io.BytesIO()
    began = time.perf_counter()
    picture.save(buffer, self._name, **self._fixed, **asked)
    seconds = time.perf_counter() - began
    return Coded(buffer.getvalue(), seconds, setting, True)


def _search(
  at: Callable[[int], Coded], qualities: range, num_bytes: float, choose: str
) -> Coded:
  """The file of the quality whose size is nearest, by bisection."""
  low, high = qualities[0], qualities[-1]
  if len(at(low).data) > num_bytes:
    return at(low)._replace(reached=False)
  if len(at(high).data) < num_bytes:
    return at(high)._replace(reached=False)
  while high - low > 1:
    middle = (low + high) // 2
    if len(at(middle).data) <= num_bytes:
      low = middle
    else:
      high = middle
  below, above = at(low), at(high)
  # The geometric mean of the two sizes lies halfway.
  if choose == "below" or num_bytes**2 < len(below.data) * len(above.data):
    return below
  return above
