"""Makes emlnet.npz: what torch makes of a network of noise.

Needs torch and torchvision. From the root:
`python -m tests.data.make_emlnet`.

The layers are written down once more, on torchvision's ResNet-50, so that
jaxgs.saliency.emlnet has something to agree with.
"""

import pathlib

import numpy as np
import torch
import torchvision
from torch.nn import functional

from tests.saliency.emlnet_states import (
  decoder_shapes,
  picture,
  random_state,
  trunk_shapes,
)

SIZE = (96, 128)
CHANNELS = (64, 256, 512, 1024, 2048)


def readout(channels):
  return torch.nn.Sequential(
    torch.nn.Conv2d(channels, 1, 3, padding=1), torch.nn.BatchNorm2d(1)
  )


def make_trunk():
  trunk = torchvision.models.resnet50(weights=None)
  del trunk.fc
  for i, channels in enumerate(CHANNELS):
    trunk.add_module(f"output{i}", readout(channels))
  return trunk


def run_trunk(trunk, x):
  x = trunk.relu(trunk.bn1(trunk.conv1(x)))
  stages = [x]
  x = trunk.maxpool(x)
  for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
    x = layer(x)
    stages.append(x)
  return [
    functional.relu(getattr(trunk, f"output{i}")(stage))
    for i, stage in enumerate(stages)
  ]


def make_decoder():
  return torch.nn.ModuleDict(
    {
      "img_model": torch.nn.ModuleList(readout(1) for _ in CHANNELS),
      "pla_model": torch.nn.ModuleList(readout(1) for _ in CHANNELS),
      "combined": readout(2 * len(CHANNELS)),
    }
  )


def run_decoder(decoder, imagenet, places):
  maps = []
  for name, taps in (("img_model", imagenet), ("pla_model", places)):
    for filters, tap in zip(decoder[name], taps, strict=True):
      maps.append(functional.interpolate(functional.relu(filters(tap)), SIZE))
  return torch.sigmoid(decoder["combined"](torch.cat(maps, dim=1)))


def fill(module, salt, shapes):
  state = random_state(salt, shapes)
  known = {
    name: tuple(value.shape)
    for name, value in module.state_dict().items()
    if not name.endswith("num_batches_tracked")
  }
  assert known == shapes, "the names and shapes of the tests are torch's"
  module.load_state_dict(
    {name: torch.from_numpy(value) for name, value in state.items()},
    strict=False,
  )
  return module.eval()


@torch.no_grad()
def main():
  image = torch.from_numpy(picture(*SIZE)).permute(2, 0, 1)[None]
  taps = [
    run_trunk(fill(make_trunk(), salt, trunk_shapes()), image)
    for salt in ("imagenet", "places")
  ]
  decoder = fill(make_decoder(), "decoder", decoder_shapes())
  found = run_decoder(decoder, *taps)[0, 0].numpy()
  arrays = {"map": found[::2, ::2]}
  for salt, maps in zip(("imagenet", "places"), taps, strict=True):
    for i, tap in enumerate(maps):
      arrays[f"{salt}_{i}"] = tap[0, 0].numpy()[:16, :16]
  for name, array in arrays.items():
    print(
      f"{name}: {array.shape}, {array.mean():.4g} +- {array.std():.4g},"
      f" {array.min():.4g} to {array.max():.4g}"
    )
  out = pathlib.Path(__file__).parent / "emlnet.npz"
  np.savez_compressed(out, **arrays)
  print(out, out.stat().st_size)


if __name__ == "__main__":
  main()
