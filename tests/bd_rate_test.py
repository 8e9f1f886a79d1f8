import numpy as np
import pytest

from jaxgs.metrics import bd_psnr, bd_rate

# JCTVC-E137, with the BD-rates of its spreadsheet (piecewise cubic), as the
# tests of Netflix's VMAF quote both (python/test/bd_rate_calculator_test.py).
PUBLISHED = [
  (
    [
      (108048.8736, 43.6471),
      (61279.976, 40.3953),
      (33905.6656, 37.247),
      (18883.6928, 34.2911),
    ],
    [
      (108061.2784, 43.6768),
      (61299.9936, 40.4232),
      (33928.7472, 37.2761),
      (18910.912, 34.3147),
    ],
    -0.465215420752807,
  ),
  (
    [
      (40433.8848, 37.5761),
      (7622.7456, 35.3756),
      (2394.488, 33.8977),
      (1017.6184, 32.0603),
    ],
    [
      (40370.12, 37.5982),
      (7587.0024, 35.4025),
      (2390.0944, 33.9194),
      (1017.0984, 32.0822),
    ],
    -1.8779823450567612,
  ),
]


def random_curve(seed, points):
  rng = np.random.default_rng(seed)
  rates = 0.1 * np.cumprod(rng.uniform(1.1, 2.0, points))
  quality = 25 + rng.uniform(0, 1) + np.cumsum(rng.uniform(0.1, 2.5, points))
  return np.stack([rates, quality], axis=1)


@pytest.mark.parametrize(("anchor", "test", "percent"), PUBLISHED)
def test_published(anchor, test, percent):
  assert bd_rate(anchor=anchor, test=test) == pytest.approx(percent, rel=1e-9)
  # The other method is another number: the default is the piecewise one.
  other = bd_rate(anchor=anchor, test=test, method="cubic")
  assert abs(other / percent - 1) > 1e-3


@pytest.mark.parametrize("method", ["pchip", "cubic"])
@pytest.mark.parametrize("sizes", [(4, 4), (5, 5), (4, 7), (14, 6)])
def test_against_the_package(method, sizes):
  package = pytest.importorskip("bjontegaard")
  for seed in range(5):
    a, b = random_curve(seed, sizes[0]), random_curve(100 + seed, sizes[1])
    arguments = (*a.T, *b.T, method)
    options = {"require_matching_points": False, "min_overlap": 0}
    wanted = package.bd_rate(*arguments, **options)
    got = bd_rate(anchor=a, test=b, method=method)
    assert got == pytest.approx(wanted, rel=1e-8)
    wanted = package.bd_psnr(*arguments, **options)
    got = bd_psnr(anchor=a, test=b, method=method)
    assert got == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("method", ["pchip", "cubic"])
def test_a_shift_is_what_it_is(method):
  curve = random_curve(0, 6)
  fewer_bits = curve * [0.8, 1.0]
  assert bd_rate(anchor=curve, test=fewer_bits, method=method) == pytest.approx(
    -20.0
  )
  better = curve + np.array([0.0, 0.7])
  gain = bd_psnr(anchor=curve, test=better, method=method)
  assert gain == pytest.approx(0.7)
  # From the other side: 1 / 0.8.
  back = bd_rate(anchor=fewer_bits, test=curve, method=method)
  assert back == pytest.approx(25.0)


def test_two_points_are_a_line_and_order_is_free():
  # One bit doubles per 2 dB on both; half the rate apart.
  anchor, test = [(0.8, 34.0), (0.2, 30.0)], [(0.1, 30.0), (0.4, 34.0)]
  assert bd_rate(anchor=anchor, test=test) == pytest.approx(-50.0)
  assert bd_psnr(anchor=anchor, test=test) == pytest.approx(2.0)


def test_only_the_common_part_counts():
  line = np.array([(2.0**k, 30.0 + k) for k in range(5)])
  far = line * [0.5, 1.0]
  # Beyond the anchor's 34 dB the test is absurdly good.
  longer = np.concatenate([far, [(9.0, 60.0)]])
  assert bd_rate(anchor=line, test=far) == pytest.approx(-50.0)
  assert bd_rate(anchor=line, test=longer) == pytest.approx(-50.0, abs=2.0)


def test_pieces_do_not_swing():
  # Flat, then a step: the parabola at the end would fall below the first point.
  steps = [(1.0, 30.0), (2.0, 30.1), (2.2, 39.0), (8.0, 39.1)]
  package = pytest.importorskip("bjontegaard")
  anchor = random_curve(3, 4) * [10.0, 1.0] + np.array([0.0, 4.0])
  wanted = package.bd_rate(
    *anchor.T, *np.transpose(steps), "pchip", min_overlap=0
  )
  assert bd_rate(anchor=anchor, test=steps) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize(
  ("test", "method", "message"),
  [
    ([(1.0, 40.0), (2.0, 41.0)], "pchip", "no quality in common: anchor 30 to"),
    ([(1.0, 30.0)], "pchip", "2 or more points"),
    ([(1.0, 30.0), (2.0, 31.0), (3.0, 32.0)], "cubic", "4 or more points"),
    ([1.0, 2.0], "pchip", r"must be \(P, 2\)"),
    ([(1.0, 31.0), (2.0, 30.0)], "pchip", "test must gain quality"),
    ([(1.0, 31.0), (1.0, 32.0)], "pchip", "test must gain quality"),
    ([(0.0, 31.0), (1.0, 32.0)], "pchip", "positive rates"),
    ([(1.0, 31.0), (2.0, np.inf)], "pchip", "finite"),
    ([(1.0, 31.0), (2.0, 32.0)], "spline", "pchip or cubic, got 'spline'"),
  ],
)
def test_refusals(test, method, message):
  anchor = [(0.5, 30.0), (1.0, 31.0), (2.0, 33.0), (4.0, 34.0)]
  with pytest.raises(ValueError, match=message):
    bd_rate(anchor=anchor, test=test, method=method)


def test_rates_in_common():
  anchor = [(0.1, 30.0), (0.2, 34.0)]
  with pytest.raises(ValueError, match=r"no log10\(rate\) in common"):
    bd_psnr(anchor=anchor, test=[(0.3, 31.0), (0.4, 33.0)])
