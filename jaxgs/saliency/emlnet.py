"""Saliency by a network that learned where people look: EML-Net.

Two ResNet-50 that were trained to name objects (ImageNet) and places (Places)
and then to predict where people look; a small decoder joins what they find at
five depths (Jia and Bruce, "EML-NET: An Expandable Multi-Layer NETwork for
saliency prediction", Image and Vision Computing 95, 2020). The layers are
those of the authors' published weights; every convolution is followed by a
batch normalisation with its stored statistics.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgs.saliency.spectral import blur, stretch

# What the network was trained on (SALICON): height, width.
SIZE = (480, 640)

# Of ResNet-50 (He et al., "Deep Residual Learning", CVPR 2016, table 1):
# channels within a block, and blocks, of the four layers.
_LAYERS = ((64, 3), (128, 4), (256, 6), (512, 3))

# Maps that each trunk hands over.
NUM_TAPS = 5

# The last map has squares where deep layers decided; people blur it by about
# one degree of the visual field. As in Image-GS, but in pixels of SIZE.
_BLUR_PX = 20.0


class Weights(NamedTuple):
  """Variables of the three networks.

  Attributes:
    imagenet: Of a `Trunk`.
    places: Of a `Trunk`.
    decoder: Of the `Decoder`.
  """

  imagenet: dict
  places: dict
  decoder: dict


def _conv(channels: int, size: int, name: str, *, stride=1, bias=False):
  # Padding is given: "SAME" would begin elsewhere where a stride skips.
  return nn.Conv(
    channels,
    (size, size),
    strides=stride,
    padding=size // 2,
    use_bias=bias,
    name=name,
  )


def _norm(name: str) -> nn.BatchNorm:
  return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


def _readout(x: jax.Array, name: str) -> jax.Array:
  """3x3 to one channel, normalised."""
  return _norm(f"{name}_1")(_conv(1, 3, f"{name}_0", bias=True)(x))


class Bottleneck(nn.Module):
  """A residual block of ResNet-50; the 3x3 convolution has the stride.

  Attributes:
    channels: Within; four times as many come out.
    stride: Of the block.
    projects: Whether the shortcut has a convolution.
  """

  channels: int
  stride: int
  projects: bool

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) to (B, H / stride, W / stride, 4 channels)."""
    y = nn.relu(_norm("bn1")(_conv(self.channels, 1, "conv1")(x)))
    y = _conv(self.channels, 3, "conv2", stride=self.stride)(y)
    y = nn.relu(_norm("bn2")(y))
    y = _norm("bn3")(_conv(4 * self.channels, 1, "conv3")(y))
    if self.projects:
      x = _conv(4 * self.channels, 1, "downsample_0", stride=self.stride)(x)
      x = _norm("downsample_1")(x)
    return nn.relu(x + y)


class Trunk(nn.Module):
  """ResNet-50 with a map of one channel read after each of five stages."""

  @nn.compact
  def __call__(self, x: jax.Array) -> list[jax.Array]:
    """(B, H, W, 3) to five (B, h, w, 1), h from H / 2 to H / 32."""
    x = nn.relu(_norm("bn1")(_conv(64, 7, "conv1", stride=2)(x)))
    stages = [x]
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for layer, (channels, count) in enumerate(_LAYERS, 1):
      for block in range(count):
        first = block == 0
        x = Bottleneck(
          channels,
          stride=2 if first and layer > 1 else 1,
          projects=first,
          name=f"layer{layer}_{block}",
        )(x)
      stages.append(x)
    return [
      nn.relu(_readout(stage, f"output{i}")) for i, stage in enumerate(stages)
    ]


class Decoder(nn.Module):
  """Joins the maps of both trunks.

  Attributes:
    size: (height, width) of its map.
  """

  size: tuple[int, int]

  @nn.compact
  def __call__(
    self, imagenet: list[jax.Array], places: list[jax.Array]
  ) -> jax.Array:
    """Twice five (B, h, w, 1) to (B, *size, 1), 0 to 1."""
    found = []
    for name, taps in (("img_model", imagenet), ("pla_model", places)):
      for i, tap in enumerate(taps):
        tap = nn.relu(_readout(tap, f"{name}_{i}"))
        shape = (tap.shape[0], *self.size, 1)
        found.append(jax.image.resize(tap, shape, "nearest"))
    joined = jnp.concatenate(found, axis=-1)
    return nn.sigmoid(_readout(joined, "combined"))


def variable_shapes() -> Weights:
  """What `Weights` hold: trees of jax.ShapeDtypeStruct."""
  key = jax.random.key(0)
  # Of any size: no variable depends on it.
  picture = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  trunk = jax.eval_shape(Trunk().init, key, picture)
  taps = [jax.ShapeDtypeStruct((1, 1, 1, 1), jnp.float32)] * NUM_TAPS
  decoder = jax.eval_shape(Decoder((1, 1)).init, key, taps, taps)
  return Weights(trunk, trunk, decoder)


# Compiled once for both trunks.
_trunk = jax.jit(Trunk().apply)


@functools.partial(jax.jit, static_argnames=("size",))
def _decode(variables, imagenet, places, *, size):
  return Decoder(size).apply(variables, imagenet, places)


def emlnet_map(weights: Weights, image: jax.Array) -> jax.Array:
  """The network's map of one picture of its own size, without a blur.

  Args:
    weights: See `jaxgs.saliency.weights.load_weights`.
    image: (H, W, 3) float32 in [0, 1], not normalised otherwise; sides are
      multiples of 32.

  Returns:
    (H, W) float32, 0 to 1.
  """
  batch = image[None]
  imagenet = _trunk(weights.imagenet, batch)
  places = _trunk(weights.places, batch)
  size = image.shape[:2]
  found = _decode(weights.decoder, imagenet, places, size=size)
  return found[0, :, :, 0]


def emlnet_saliency(weights: Weights, image: jax.Array) -> jax.Array:
  """Where people would look, blurred.

  The picture is resized to 480x640 whatever its shape, as in training.

  Args:
    weights: See `jaxgs.saliency.weights.load_weights`.
    image: (H, W, C) float32 in [0, 1]: grey, grey and alpha, RGB, or RGB and
      alpha; what cannot be seen is black.

  Returns:
    (H, W) float32, 0 to 1.

  Raises:
    ValueError: Another number of channels.
  """
  found = emlnet_map(weights, _fitted(image))
  # A margin is as bright as what lies beside it.
  found = blur(found, _BLUR_PX) / blur(jnp.ones(SIZE), _BLUR_PX)
  return stretch(jax.image.resize(found, image.shape[:2], "linear"))


def _fitted(image: jax.Array) -> jax.Array:
  """RGB of the network's size: (480, 640, 3)."""
  if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
    raise ValueError(
      f"image must be (H, W, C) with 1 to 4 channels, got {image.shape}"
    )
  colours, alpha = image, None
  if image.shape[2] in (2, 4):
    colours, alpha = image[..., :-1], image[..., -1:]
  if alpha is not None:
    colours = colours * alpha
  colours = jnp.broadcast_to(colours, (*image.shape[:2], 3))
  return jax.image.resize(colours, (*SIZE, 3), "linear")
