import numpy as np
import pytest

from jaxgs import codec
from jaxgs.codec import rules
from jaxgs.codec.lattice import angle_levels_table, log2_table
from tests.codec.conftest import angle_levels, position_bits

LATTICES = [
  codec.Lattice(3277, 768, 1024, 9830, (655,)),
  codec.Lattice(1, 0, 65535, 1, (1,)),
  codec.Lattice(262140, 4096, 1, 1, (1,)),
  codec.Lattice(6554, 513, 333, 1, (1, 2, 3)),
]
ADAPTIVE = codec.Lattice(9175, 640, 826, 37356, (8782,), 69, 122, 133, 1)


def scales(rng, n=3000):
  """Valid ones, most of ordinary size."""
  major = rng.integers(-8, 40, n)
  return np.stack([major, rng.integers(0, 25, n)], 1)


def octaves_of(lattice, scale):
  major, minor = scale[:, 0], scale[:, 0] - scale[:, 1]
  unit = lattice.scale_step / 65536 * np.log2(np.e)
  return major * unit, minor * unit


@pytest.mark.parametrize("lattice", LATTICES)
def test_position_bits_follow_the_float_formula(lattice):
  minor = np.arange(codec.SCALE_MIN, codec.SCALE_MAX + 1)
  log2_minor = minor * lattice.scale_step / 65536 * np.log2(np.e)
  exact = lattice.position_precision / 256 - log2_minor
  want = np.clip(
    np.floor(exact), codec.POSITION_BITS_MIN, codec.POSITION_BITS_MAX
  )
  scale = np.stack([minor, 0 * minor], 1)
  got = position_bits(lattice, scale, 0 * minor)
  np.testing.assert_array_equal(got[:, 0], got[:, 1])
  clear = np.abs(exact - np.rint(exact)) > 1e-5
  np.testing.assert_array_equal(got[clear, 0], want[clear])
  assert np.abs(got[:, 0] - want).max() <= 1
  assert got.dtype == np.int64


@pytest.mark.parametrize("lattice", LATTICES)
def test_angle_levels_follow_the_float_formula(lattice):
  ratio = np.arange(codec.RATIO_MAX + 1)
  t = np.minimum(ratio * lattice.scale_step / 65536, 40)
  exact = np.pi * 2 * np.sinh(t) * lattice.angle_precision / 256
  want = np.clip(np.ceil(exact), 1, codec.ANGLE_LEVELS_MAX)
  got = angle_levels(lattice, np.stack([0 * ratio, ratio], 1))
  np.testing.assert_array_equal(got, want)
  assert got[0] == 1


def test_adaptive_lattices_follow_the_float_formulas():
  rng = np.random.default_rng(0)
  scale = scales(rng)
  major, minor = octaves_of(ADAPTIVE, scale)
  geometry = 69 / 256 * (major + minor)
  r = rules.rules_of(ADAPTIVE)
  levels = rules.angle_levels(r, scale)
  t = scale[:, 1] * ADAPTIVE.scale_step / 65536
  exact = np.pi * 2 * np.sinh(t) * ADAPTIVE.angle_precision / 256
  exact = np.clip(exact * 2**geometry, 1, codec.ANGLE_LEVELS_MAX)
  assert (levels[scale[:, 1] == 0] == 1).all()
  # Steps of an eighth of an octave, and a level up or down.
  assert (np.abs(levels - exact) <= 0.1 * exact + 1.5)[t > 0].all()

  angle = rng.integers(0, levels)
  frame = rules.frame(r, scale, angle, levels)
  low, high = codec.POSITION_BITS_MIN, codec.POSITION_BITS_MAX
  for got, own in ((frame.along, major), (frame.across, minor)):
    exact = 640 / 256 + geometry - own
    clear = np.abs(exact - np.rint(exact)) > 1e-3
    want = np.clip(np.floor(exact), low, high)
    np.testing.assert_array_equal(got[clear], want[clear])
  turn = angle * np.pi / levels
  off = np.abs(np.abs(np.cos(turn)) - np.abs(np.sin(turn))) > 0.01
  is_steep = np.abs(np.sin(turn)) > np.abs(np.cos(turn))
  np.testing.assert_array_equal(frame.steep[off], is_steep[off])
  slope = np.where(is_steep, 1 / np.tan(turn + 1e-9), np.tan(turn))
  assert np.abs(frame.shear / 4096 - slope)[off].max() < 4e-3
  bits = rules.position_bits(r, scale, angle)
  chosen = np.where(frame.steep, bits[:, 1], bits[:, 0])
  np.testing.assert_array_equal(chosen, frame.along)

  eighths = np.clip(np.floor(8 * geometry + 1e-9), -63, 63)
  want = np.rint(ADAPTIVE.weight_step * 2 ** (-eighths / 8))
  got = rules.weight_steps(r, scale)
  # At the border of an eighth either is right.
  assert (np.abs(got / want - 1) < 0.1).all()
  assert (got == want).mean() > 0.99

  log_weight = rng.integers(-4 << 16, 4 << 16, len(scale))
  row = rules.feature_eighths(r, scale, log_weight)
  octaves = 122 / 256 * (major + minor) + 133 / 256 * log_weight / 65536
  assert np.abs(row - 63 - np.clip(8 * octaves, -63, 63)).max() < 1.01


def test_the_share_across_follows_the_long_axis():
  rng = np.random.default_rng(1)
  scale = scales(rng)
  r = rules.rules_of(ADAPTIVE)
  levels = rules.angle_levels(r, scale)
  frame = rules.frame(r, scale, rng.integers(0, levels), levels)
  i = rng.integers(0, 1 << 16, len(scale))
  share, bits = rules.offset(r, frame, i)
  a = (i + 0.5) * 2.0**-frame.along
  b = frame.shear / 4096 * a * 2.0**frame.across
  np.testing.assert_allclose(share / 2.0**bits, b % 1, atol=1e-6)
  # int32 gives the same, though its products wrap around.
  i32 = rules.Frame(*(np.asarray(x).astype(np.int32) for x in frame))
  wrapped, _ = rules.offset(r, i32, (i * 64).astype(np.int32))
  wide, _ = rules.offset(r, frame, i * 64)
  np.testing.assert_array_equal(wrapped, wide)


def test_rounding_of_tables_is_no_close_call():
  size = len(rules.rules_of(ADAPTIVE).shear)
  f = np.arange(size // 4)
  exact = np.tan(f * np.pi / size) * 4096
  assert np.abs(exact % 1 - 0.5).min() > 1e-5
  assert (rules.rules_of(ADAPTIVE).shear[: size // 4] == np.rint(exact)).all()


def test_scaled_steps():
  got = rules.scaled_steps(1000)
  eighths = np.arange(-63, 64)
  np.testing.assert_array_equal(
    got, np.maximum(np.floor(1000 * 2.0 ** (-eighths / 8) + 0.5), 1)
  )


def test_tables_are_shared():
  lattice = LATTICES[0]
  levels, octaves = angle_levels_table(lattice), log2_table(lattice)
  assert levels.dtype == octaves.dtype == np.int32
  assert levels.shape == octaves.shape == (codec.TABLE_SIZE,)
  assert (np.diff(levels) >= 0).all()
  for table in (levels, octaves):
    with pytest.raises(ValueError, match="read-only"):
      table[0] = 3


def test_known_values_never_change():
  lattice = LATTICES[0]
  levels = angle_levels(lattice, np.array([[0, 1], [0, 10], [0, 39]]))
  np.testing.assert_array_equal(levels, [2, 14, 87])
  minor = np.array([-42, -41, 0, 13, 14, 69, 70])
  got = position_bits(lattice, np.stack([minor, 0 * minor], 1), 0 * minor)
  np.testing.assert_array_equal(got[:, 0], [6, 5, 3, 2, 1, -2, -3])
  scale, angle = np.array([[12, 9], [25, 3], [-3, 0]]), np.array([5, 40, 0])
  r = rules.rules_of(ADAPTIVE)
  got = [
    rules.angle_levels(r, scale),
    *rules.position_bits(r, scale, angle).T,
    rules.weight_steps(r, scale),
    rules.feature_eighths(r, scale, np.array([70000, -90000, 0])),
  ]
  np.testing.assert_array_equal(got, KNOWN)


KNOWN = (
  [55, 50, 1],
  [0, 0, 2],
  [2, 0, 2],
  [22212, 6604, 48445],
  [78, 93, 58],
)


def test_position_extent_is_the_ceiling():
  bits = np.array([-3, -1, 0, 6])
  np.testing.assert_array_equal(
    codec.position_extent(513, bits), [65, 257, 513, 513 * 64]
  )
  np.testing.assert_array_equal(codec.position_extent(1, bits), [1, 1, 1, 64])
