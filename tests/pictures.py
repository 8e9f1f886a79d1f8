"""Pictures to fit in tests."""

import pathlib

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np

PARROT = pathlib.Path(__file__).parent / "data" / "parrot.png"


def blobs(seed, height=24, width=32):
  """Smooth coloured waves with an edge: (24, 32, 3) float32."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width]
  phase = rng.uniform(0, 6, 3)
  image = 0.5 + 0.3 * np.sin(x[..., None] / 5 + y[..., None] / 7 + phase)
  image[(x - width / 2) ** 2 + (y - height / 2) ** 2 < 36] = rng.uniform(
    0, 1, 3
  )
  return jnp.asarray(image, jnp.float32)


def parrot():
  """The photograph of the tests: (190, 200, 3) float32."""
  return jnp.asarray(iio.imread(PARROT) / 255, jnp.float32)
