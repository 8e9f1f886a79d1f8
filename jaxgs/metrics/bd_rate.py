"""Bjøntegaard deltas: how far two rate-quality curves lie apart.

G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves",
VCEG-M33, 2001: both curves are interpolated with the rate as a logarithm, and
the gap is averaged over what they have in common, never beyond it.

The default goes through the points piecewise and never swings between them
(PCHIP: Fritsch and Butland, "A method for constructing local monotone piecewise
cubic interpolants", 1984), as in the test conditions of HEVC and VVC
(JCTVC-L1100, JVET-T2010); it takes any number of points from two. The one cubic
polynomial of VCEG-M33 is made for four points: it misses them when there are
more, and bends where they are far apart.
"""

import numpy as np
import numpy.typing as npt


def bd_rate(
  *, anchor: npt.ArrayLike, test: npt.ArrayLike, method: str = "pchip"
) -> float:
  """Mean difference of rate at equal quality.

  Args:
    anchor: (P, 2), the rate (of any unit, positive) and the quality (dB) of
      each file, in any order. Both must rise together.
    test: (Q, 2), as `anchor`.
    method: "pchip": piecewise cubics, P and Q 2 or more; "cubic": the least
      squares cubic of VCEG-M33, P and Q 4 or more.

  Returns:
    Percent; negative where `test` needs fewer bits than `anchor`.

  Raises:
    ValueError: Too few points, a rate or quality out of range, a curve that
      does not rise, curves without a quality in common, or unknown method.
  """
  (rate_a, quality_a), (rate_b, quality_b) = _checked(anchor, test, method)
  gap = _mean_gap(quality_a, rate_a, quality_b, rate_b, method, "quality")
  return float(100.0 * (10.0**gap - 1.0))


def bd_psnr(
  *, anchor: npt.ArrayLike, test: npt.ArrayLike, method: str = "pchip"
) -> float:
  """Mean difference of quality at equal rate.

  Args:
    anchor: See `bd_rate`.
    test: See `bd_rate`.
    method: See `bd_rate`.

  Returns:
    The unit of the quality, dB; positive where `test` is better than `anchor`.

  Raises:
    ValueError: As in `bd_rate`; here the curves must have rates in common.
  """
  (rate_a, quality_a), (rate_b, quality_b) = _checked(anchor, test, method)
  gap = _mean_gap(rate_a, quality_a, rate_b, quality_b, method, "log10(rate)")
  return float(gap)


def _checked(anchor, test, method: str) -> tuple:
  """Log-rates and qualities of both curves, rising."""
  if method not in _INTEGRALS:
    raise ValueError(f"method must be pchip or cubic, got {method!r}")
  least = 4 if method == "cubic" else 2
  curves = []
  for name, curve in (("anchor", anchor), ("test", test)):
    points = np.asarray(curve, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least:
      raise ValueError(
        f"{name} must be (P, 2) with {least} or more points for {method}, got"
        f" {points.shape}"
      )
    if not (np.isfinite(points).all() and (points[:, 0] > 0).all()):
      raise ValueError(f"{name} must be finite with positive rates")
    points = points[np.argsort(points[:, 0])]
    if (np.diff(points, axis=0) <= 0).any():
      raise ValueError(
        f"{name} must gain quality with every rise of the rate, got"
        f" {points.tolist()}"
      )
    curves.append((np.log10(points[:, 0]), points[:, 1]))
  return tuple(curves)


def _mean_gap(x_a, y_a, x_b, y_b, method: str, what: str) -> float:
  """Mean of y_b - y_a over the x that both curves have."""
  low, high = max(x_a[0], x_b[0]), min(x_a[-1], x_b[-1])
  if not low < high:
    raise ValueError(
      f"the curves have no {what} in common: anchor {x_a[0]:.4g} to"
      f" {x_a[-1]:.4g}, test {x_b[0]:.4g} to {x_b[-1]:.4g}"
    )
  integral = _INTEGRALS[method]
  return (integral(x_b, y_b, low, high) - integral(x_a, y_a, low, high)) / (
    high - low
  )


def _integrate_cubic(x, y, low: float, high: float) -> float:
  integral = np.polynomial.Polynomial.fit(x, y, 3).integ()
  return integral(high) - integral(low)


def _integrate_pchip(x, y, low: float, high: float) -> float:
  h = np.diff(x)
  rise = np.diff(y) / h
  slope = _slopes(h, rise)
  # y + slope t + square t^2 + cube t^3 from the left end of each piece.
  square = (3.0 * rise - 2.0 * slope[:-1] - slope[1:]) / h
  cube = (slope[:-1] + slope[1:] - 2.0 * rise) / h**2

  def until(end):
    t = np.clip(end - x[:-1], 0.0, h)
    inner = slope[:-1] / 2 + t * (square / 3 + t * cube / 4)
    return np.sum(t * (y[:-1] + t * inner))

  return until(high) - until(low)


def _slopes(h: np.ndarray, rise: np.ndarray) -> np.ndarray:
  """Fritsch and Butland's slopes at the points; all of `rise` is positive.

  Inside, a weighted harmonic mean of the two neighbours; at the ends, that of
  the parabola through three points, unless it falls.
  """
  if len(h) == 1:
    return np.repeat(rise, 2)
  left, right = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
  inside = (left + right) / (left / rise[:-1] + right / rise[1:])

  def end(h0, h1, rise0, rise1):
    return max(((2 * h0 + h1) * rise0 - h0 * rise1) / (h0 + h1), 0.0)

  first = end(h[0], h[1], rise[0], rise[1])
  last = end(h[-1], h[-2], rise[-1], rise[-2])
  return np.concatenate([[first], inside, [last]])


_INTEGRALS = {"pchip": _integrate_pchip, "cubic": _integrate_cubic}
