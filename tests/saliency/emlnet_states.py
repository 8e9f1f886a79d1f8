"""State dicts of EML-Net as torch names them, filled with noise."""

import zlib

import numpy as np


def _norm(name, channels):
  for leaf in ("weight", "bias", "running_mean", "running_var"):
    yield f"{name}.{leaf}", (channels,)


def _readout(name, channels):
  yield f"{name}.0.weight", (1, channels, 3, 3)
  yield f"{name}.0.bias", (1,)
  yield from _norm(f"{name}.1", 1)


def trunk_shapes():
  """Shapes by name: ResNet-50 with an output after each stage."""
  shapes = [("conv1.weight", (64, 3, 7, 7)), *_norm("bn1", 64)]
  channels = 64
  layers = ((64, 3), (128, 4), (256, 6), (512, 3))
  for layer, (width, count) in enumerate(layers, 1):
    for block in range(count):
      name = f"layer{layer}.{block}"
      for i, shape in enumerate(
        [
          (width, channels, 1, 1),
          (width, width, 3, 3),
          (4 * width, width, 1, 1),
        ]
      ):
        shapes.append((f"{name}.conv{i + 1}.weight", shape))
        shapes += _norm(f"{name}.bn{i + 1}", shape[0])
      if block == 0:
        shape = (4 * width, channels, 1, 1)
        shapes.append((f"{name}.downsample.0.weight", shape))
        shapes += _norm(f"{name}.downsample.1", 4 * width)
      channels = 4 * width
  for i, channels in enumerate((64, 256, 512, 1024, 2048)):
    shapes += _readout(f"output{i}", channels)
  return dict(shapes)


def decoder_shapes():
  """Shapes by name: a filter for each of the ten maps, and one for all."""
  shapes = []
  for trunk in ("img_model", "pla_model"):
    for i in range(5):
      shapes += _readout(f"{trunk}.{i}", 1)
  return dict([*shapes, *_readout("combined", 10)])


def random_state(salt, shapes):
  """Noise by name, the same everywhere: {name: float32 array}.

  Activations keep their size from layer to layer, and what is read stays
  where ReLU and sigmoid still tell values apart.
  """
  state = {}
  for name, shape in shapes.items():
    rng = np.random.default_rng(zlib.crc32(f"{salt}/{name}".encode()))
    noise = rng.random(shape, np.float32) - np.float32(0.5)
    if len(shape) == 4:
      fan_in = shape[1] * shape[2] * shape[3]
      noise *= np.float32(np.sqrt(24.0 / fan_in))
    elif name.endswith("running_var"):
      noise += np.float32(1.5)
    elif name.endswith(("weight", "bias")) and _is_readout(name):
      noise = np.float32(1.0) + np.float32(0.5) * noise
      if name == "combined.1.bias":
        noise -= np.float32(6.0)
    elif name.endswith("weight"):
      noise += np.float32(0.8)
    state[name] = noise
  return state


def _is_readout(name):
  return not name.startswith(("conv", "bn", "layer"))


def picture(height, width):
  """(H, W, 3) float32 in [0, 1]."""
  rng = np.random.default_rng(7)
  small = rng.random((height // 8, width // 8, 3), np.float32)
  big = np.repeat(np.repeat(small, 8, 0), 8, 1)
  noise = rng.random((height, width, 3), np.float32)
  return np.float32(0.8) * big + np.float32(0.2) * noise
