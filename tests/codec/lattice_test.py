import numpy as np
import pytest

from jaxgs import codec

LATTICES = [
  codec.Lattice(3277, 768, 1024, 9830, (655,)),
  codec.Lattice(1, 0, 65535, 1, (1,)),
  codec.Lattice(262140, 4096, 1, 1, (1,)),
  codec.Lattice(6554, 513, 333, 1, (1, 2, 3)),
]


@pytest.mark.parametrize("lattice", LATTICES)
def test_position_bits_follow_the_float_formula(lattice):
  minor = np.arange(codec.SCALE_MIN, codec.SCALE_MAX + 1)
  log2_minor = minor * lattice.scale_step / 65536 * np.log2(np.e)
  exact = lattice.position_precision / 256 - log2_minor
  want = np.clip(
    np.floor(exact), codec.POSITION_BITS_MIN, codec.POSITION_BITS_MAX
  )
  got = codec.position_bits(lattice, minor)
  clear = np.abs(exact - np.rint(exact)) > 1e-5
  np.testing.assert_array_equal(got[clear], want[clear])
  assert np.abs(got - want).max() <= 1
  assert got.dtype == np.int64


@pytest.mark.parametrize("lattice", LATTICES)
def test_angle_levels_follow_the_float_formula(lattice):
  ratio = np.arange(codec.RATIO_MAX + 1)
  t = np.minimum(ratio * lattice.scale_step / 65536, 40)
  exact = np.pi * 2 * np.sinh(t) * lattice.angle_precision / 256
  want = np.clip(np.ceil(exact), 1, codec.ANGLE_LEVELS_MAX)
  got = codec.angle_levels(lattice, ratio)
  np.testing.assert_array_equal(got, want)
  assert got[0] == 1


def test_tables_hold_the_rules():
  lattice = LATTICES[0]
  minor = np.arange(-codec.TABLE_OFFSET, codec.TABLE_SIZE - codec.TABLE_OFFSET)
  bits = codec.position_bits_table(lattice)
  levels = codec.angle_levels_table(lattice)
  np.testing.assert_array_equal(bits, codec.position_bits(lattice, minor))
  assert bits.dtype == levels.dtype == np.int32
  assert bits.shape == levels.shape == (codec.TABLE_SIZE,)
  assert (np.diff(levels) >= 0).all()
  with pytest.raises(ValueError, match="read-only"):
    levels[0] = 3


def test_known_values_never_change():
  lattice = LATTICES[0]
  levels = codec.angle_levels(lattice, np.array([1, 10, 39]))
  np.testing.assert_array_equal(levels, [2, 14, 87])
  minor = np.array([-42, -41, 0, 13, 14, 69, 70])
  np.testing.assert_array_equal(
    codec.position_bits(lattice, minor), [6, 5, 3, 2, 1, -2, -3]
  )


def test_position_extent_is_the_ceiling():
  bits = np.array([-3, -1, 0, 6])
  np.testing.assert_array_equal(
    codec.position_extent(513, bits), [65, 257, 513, 513 * 64]
  )
  np.testing.assert_array_equal(codec.position_extent(1, bits), [1, 1, 1, 64])
