"""Pictures of any channels as the RGB that metrics of human vision take."""

import jax
import jax.numpy as jnp


def to_rgb(image: jax.Array) -> jax.Array:
  """RGB of grey, grey with alpha, RGB or RGB with alpha.

  Grey becomes three equal channels. A second or fourth channel is taken as
  straight alpha, and the picture is laid on white.

  Args:
    image: (..., H, W, C) float in [0, 1], C 1 to 4.

  Returns:
    (..., H, W, 3), of the dtype of `image`.

  Raises:
    ValueError: C is not 1 to 4.
  """
  channels = image.shape[-1]
  if not 1 <= channels <= 4:
    raise ValueError(
      "a and b must be grey or RGB, with or without alpha: 1 to 4 channels,"
      f" got {channels}"
    )
  if channels in (2, 4):
    image, alpha = image[..., :-1], image[..., -1:]
    image = image * alpha + (1 - alpha)
  return jnp.broadcast_to(image, (*image.shape[:-1], 3))
