"""The networks of LPIPS; imported when they are used, since flax is optional.

The convolutions of AlexNet (A. Krizhevsky, "One weird trick for parallelizing
convolutional neural networks", 2014) and VGG-16 (K. Simonyan and A. Zisserman,
"Very deep convolutional networks for large-scale image recognition", 2015), in
the layout whose weights torchvision publishes.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Conv(NamedTuple):
  """A convolution with a ReLU: channels out, window, step, border of zeros."""

  channels: int
  window: int = 3
  stride: int = 1
  padding: int = 1


class Stage(NamedTuple):
  """Convolutions, after whose last one features are compared."""

  convs: tuple[Conv, ...]
  pool_px: int = 0  # Window of the maximum before them, in steps of 2.


STAGES = {
  "alex": (
    Stage((Conv(64, 11, 4, 2),)),
    Stage((Conv(192, 5, 1, 2),), 3),
    Stage((Conv(384),), 3),
    Stage((Conv(256),)),
    Stage((Conv(256),)),
  ),
  "vgg": (
    Stage((Conv(64),) * 2),
    Stage((Conv(128),) * 2, 2),
    Stage((Conv(256),) * 3, 2),
    Stage((Conv(512),) * 3, 2),
    Stage((Conv(512),) * 3, 2),
  ),
}
# With less, nothing is left after the last maximum.
LEAST_SIDE_PX = {"alex": 31, "vgg": 16}

# Mean and deviation of natural pictures in [-1, 1], per channel; those that
# the weights of version 0.1 were trained with.
_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)


class Network(nn.Module):
  """Distance between the features of two pictures.

  Attributes:
    name_of_network: "alex" or "vgg".
  """

  name_of_network: str

  @nn.compact
  def __call__(self, pair: jax.Array) -> jax.Array:
    """The distances.

    Args:
      pair: (2, B, H, W, 3) float32 in [0, 1].

    Returns:
      (B,) float32.
    """
    mean, deviation = (
      jnp.array(v).reshape(1, 1, 1, 3) for v in (_MEAN, _DEVIATION)
    )
    x = 2.0 * pair.reshape(-1, *pair.shape[2:]) - 1.0
    x = (x - mean) / deviation
    distance = jnp.zeros(pair.shape[1])
    num_convs = 0
    for level, stage in enumerate(STAGES[self.name_of_network]):
      if stage.pool_px:
        x = nn.max_pool(x, (stage.pool_px,) * 2, (2, 2))
      for conv in stage.convs:
        x = nn.Conv(
          conv.channels,
          (conv.window,) * 2,
          conv.stride,
          conv.padding,
          # A GPU would take 10 bits of mantissa.
          precision="highest",
          name=f"conv{num_convs}",
        )(x)
        x = nn.relu(x)
        num_convs += 1
      weight = self.param(
        f"head{level}", nn.initializers.zeros, (stage.convs[-1].channels,)
      )
      a, b = _directions(x).reshape(*pair.shape[:2], *x.shape[1:])
      difference = jnp.mean(jnp.square(a - b), (1, 2))
      distance += jnp.sum(difference * weight[None], -1)
    return distance


def _directions(x: jax.Array) -> jax.Array:
  """Features of each place with length 1; 0 where there are none."""
  # The gradient at length 0 is no number, but the ReLU before lets none of it
  # through.
  square = jnp.sum(jnp.square(x), -1, keepdims=True)
  return x / (jnp.sqrt(square) + 1e-10)
