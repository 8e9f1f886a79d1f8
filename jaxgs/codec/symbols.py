"""Quantised splats as integers: what a `.jgs` file stores."""

from typing import Any, NamedTuple


class Symbols(NamedTuple):
  """A set of N splats on a `Lattice`, as int32 arrays (numpy or jax.numpy).

  Splat n has its centre at `(position + 0.5) * 2**-p` pixels, where
  `p = position_bits(lattice, minor)` and `minor = major - ratio`.

  Attributes:
    position: `(N, 2)`, columns (ix, iy), `0 <= ix < ceil(W * 2**p)`.
    scale: `(N, 2)`, columns (major, ratio): the log standard deviation of the
      long axis in `scale_step`s, and by how many steps the short axis is
      smaller (`ratio >= 0`).
    angle: `(N,)`, `0 <= angle < angle_levels(lattice, ratio)`; the long axis
      points along `angle * pi / levels`.
    weight: `(N,)`, the log-weight in `weight_step`s, any sign.
    feature: `(N, C)`, channel c in `feature_step[c]`s, any sign.
  """

  position: Any
  scale: Any
  angle: Any
  weight: Any
  feature: Any
