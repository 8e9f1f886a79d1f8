"""Quantised splats as integers: what a `.jgs` file stores."""

from typing import Any, NamedTuple


class Symbols(NamedTuple):
  """A set of N splats on a `Lattice`, as int32 arrays (numpy or jax.numpy).

  How far apart the values of a splat's lattice are depends on its scale, angle
  and weight, see `rules`; `minor = major - ratio`.

  Attributes:
    position: `(N, 2)`, columns (ix, iy), `0 <= ix < ceil(W * 2**p)` with the
      bits p of `rules.position_bits`; see `rules.Frame` for the centre.
    scale: `(N, 2)`, columns (major, ratio): the log standard deviation of the
      long axis in `scale_step`s, and by how many steps the short axis is
      smaller (`ratio >= 0`).
    angle: `(N,)`, `0 <= angle < levels = rules.angle_levels`; the long axis
      points along `angle * pi / levels`.
    weight: `(N,)`, the log-weight in steps of `rules.weight_steps`, any sign.
    feature: `(N, C)`, channel c in its steps, a row of `rules.scaled_steps`,
      any sign.
  """

  position: Any
  scale: Any
  angle: Any
  weight: Any
  feature: Any
