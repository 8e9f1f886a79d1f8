"""Rows of a run, and data files of others, as curves of rate and quality."""

import json
import pathlib
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from jaxgs.metrics import bd_psnr, bd_rate

_FOLDER = pathlib.Path(__file__).parent / "curves"


class Mean(NamedTuple):
  """One codec at one point, over the images that reach it.

  Attributes:
    point: Its name.
    num_images: That reach it.
    num_all: That were asked to.
    bpp, psnr_db, ms_ssim: Means; NaN where no image reaches the point.
    encode_s, decode_s: Medians, so that one compilation does not matter.
  """

  point: str
  num_images: int
  num_all: int
  bpp: float
  psnr_db: float
  ms_ssim: float
  encode_s: float
  decode_s: float

  @property
  def is_complete(self) -> bool:
    """Whether all images reach it, so that it compares with others."""
    return self.num_images == self.num_all


class Published(NamedTuple):
  """A curve of others.

  Attributes:
    name: Of the codec.
    points: (bits per pixel, PSNR in dB).
    images: Names of the pictures that the means are over.
  """

  name: str
  points: list
  images: tuple[str, ...]


def read_published(name: str, wanted: Sequence[str]) -> list[Published]:
  """Reads curves of others.

  Args:
    name: Of a file in `experiments/curves`, without suffix.
    wanted: Names of codecs in it.

  Returns:
    A Published for each.

  Raises:
    ValueError: The file does not have one of them.
  """
  content = json.loads((_FOLDER / f"{name}.json").read_text())
  curves = {curve["name"]: curve["points"] for curve in content["curves"]}
  if missing := [codec for codec in wanted if codec not in curves]:
    raise ValueError(f"{name} has no curve of {missing}; it has {[*curves]}")
  images = tuple(content["images"])
  return [Published(codec, curves[codec], images) for codec in wanted]


def mean_points(rows: Iterable[dict]) -> dict[str, list[Mean]]:
  """The means of each codec, by rising rate.

  Args:
    rows: As `rd_measure` writes them.

  Returns:
    Codec to its points, codecs in the order of the rows.
  """
  groups: dict[str, dict[str, list[dict]]] = {}
  for row in rows:
    of_codec = groups.setdefault(row["codec"], {})
    of_codec.setdefault(row["point"], []).append(row)
  means = {}
  for codec, points in groups.items():
    means[codec] = [_mean(point, rows) for point, rows in points.items()]
    means[codec].sort(key=lambda mean: mean.bpp)
  return means


def _mean(point: str, rows: list[dict]) -> Mean:
  good = [row for row in rows if row["reached"]]

  def over(figure: Callable, name: str) -> float:
    return figure([row[name] for row in good]) if good else float("nan")

  return Mean(
    point,
    len(good),
    len(rows),
    *(over(statistics.fmean, n) for n in ("bpp", "psnr_db", "ms_ssim")),
    *(over(statistics.median, n) for n in ("encode_s", "decode_s")),
  )


def curve_of(means: list[Mean]) -> list[tuple[float, float]]:
  """(bpp, dB) where all images reach the point."""
  points = [(m.bpp, m.psnr_db) for m in means if m.is_complete]
  return rising(points)


def rising(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
  """The points that no cheaper one equals: what a user would choose from."""
  kept: list[tuple[float, float]] = []
  for rate, quality in sorted(points, key=lambda p: (p[0], -p[1])):
    if not kept or (quality > kept[-1][1] and rate > kept[-1][0]):
      kept.append((rate, quality))
  return kept


class Gap(NamedTuple):
  """How far two curves lie apart.

  Attributes:
    rate: BD-rate, percent.
    psnr_db: BD-PSNR; NaN where the curves have no rate in common.
    low_db, high_db: The qualities that the BD-rate is over.
  """

  rate: float
  psnr_db: float
  low_db: float
  high_db: float


def gap_between(anchor, test) -> Gap | None:
  """The gap from one curve to another.

  Args:
    anchor: Points of (bpp, dB).
    test: As `anchor`.

  Returns:
    The gap, or None where the curves have no quality in common.
  """
  try:
    rate = bd_rate(anchor=anchor, test=test)
  except ValueError:
    return None
  try:
    psnr_db = bd_psnr(anchor=anchor, test=test)
  except ValueError:
    psnr_db = float("nan")
  low, high = (
    pick(end(quality for _, quality in curve) for curve in (anchor, test))
    for pick, end in ((max, min), (min, max))
  )
  return Gap(rate, psnr_db, low, high)


def gaps_of_images(rows: Sequence[dict], anchor: str, test: str) -> list[float]:
  """BD-rates of single images, those that have one."""
  curves: dict[str, dict[str, list]] = {}
  for row in rows:
    if row["reached"] and row["codec"] in (anchor, test):
      of_image = curves.setdefault(row["image"], {anchor: [], test: []})
      of_image[row["codec"]].append((row["bpp"], row["psnr_db"]))
  gaps = [
    gap_between(rising(pair[anchor]), rising(pair[test]))
    for pair in curves.values()
  ]
  return [gap.rate for gap in gaps if gap is not None]
