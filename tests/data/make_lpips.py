"""Makes lpips.npz: values of the authors' package, with weights from a seed.

Where lpips and torchvision are installed: `python -m tests.data.make_lpips`.
"""

import pathlib

import numpy as np

from tests.data.metric_pictures import pair

# (out, in, window) of each convolution by its index in torchvision's features.
_CONVS = {
  "alex": {
    0: (64, 3, 11),
    3: (192, 64, 5),
    6: (384, 192, 3),
    8: (256, 384, 3),
    10: (256, 256, 3),
  },
  "vgg": {
    0: (64, 3, 3),
    2: (64, 64, 3),
    5: (128, 64, 3),
    7: (128, 128, 3),
    10: (256, 128, 3),
    12: (256, 256, 3),
    14: (256, 256, 3),
    17: (512, 256, 3),
    19: (512, 512, 3),
    21: (512, 512, 3),
    24: (512, 512, 3),
    26: (512, 512, 3),
    28: (512, 512, 3),
  },
}
_HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
NETWORKS = tuple(_CONVS)


def weights(network):
  """State dicts as torchvision and lpips name them, from a seed."""
  rng = np.random.default_rng(7)
  state = {}
  for index, (out, into, window) in _CONVS[network].items():
    kernel = rng.random((out, into, window, window), np.float32) - 0.5
    # Uniform in [-0.5, 0.5] has variance 1/12: features keep their size.
    kernel *= np.float32((24 / (into * window**2)) ** 0.5)
    state[f"features.{index}.weight"] = kernel
    state[f"features.{index}.bias"] = rng.random(out, np.float32) / 10
  heads = {
    f"lin{i}.model.1.weight": rng.random((1, channels, 1, 1), np.float32)
    for i, channels in enumerate(_HEADS[network])
  }
  return state, heads


def pictures():
  """Two (3, 45, 58, 3): sides that no step divides."""
  pairs = [pair(45, 58, seed=k, noise=0.1 * k) for k in (1, 2, 4)]
  return tuple(np.stack(x) for x in zip(*pairs, strict=True))


def main():
  import lpips
  import torch

  a, b = (torch.from_numpy(x).permute(0, 3, 1, 2) for x in pictures())
  values = {}
  for network in NETWORKS:
    model = lpips.LPIPS(
      net=network, pretrained=False, pnet_rand=True, verbose=False
    )
    state, heads = weights(network)
    layers = {
      f"net.slice{i}.{name.removeprefix('features.')}": torch.from_numpy(x)
      for name, x in state.items()
      for i in range(1, 6)
      if f"net.slice{i}.{name.removeprefix('features.')}" in model.state_dict()
    }
    heads = {name: torch.from_numpy(x) for name, x in heads.items()}
    left = model.load_state_dict(layers | heads, strict=False)
    assert len(layers) == len(state)
    # The package has each head under two names.
    assert not left.unexpected_keys
    missing = {name.split(".")[0] for name in left.missing_keys}
    assert missing == {"scaling_layer", "lins"}
    with torch.no_grad():
      values[network] = model(a, b, normalize=True).reshape(-1).numpy()
  np.savez(pathlib.Path(__file__).with_name("lpips.npz"), **values)


if __name__ == "__main__":
  main()
