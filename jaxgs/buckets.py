"""Which images share a program: like sizes together, few programs in all.

A program of its own costs a compilation; a place in the program of larger
images costs the steps on the padding. Sizes go up to a grid, so that images of
any sizes make few kinds; what is left of a kind at the end joins another where
that takes less time than to compile.
"""

import dataclasses
from collections.abc import Hashable
from typing import NamedTuple

# Pixels of a program, per device. On a CPU one picture keeps all cores busy,
# and each program's files come only with its end; a GPU needs many pictures:
# 85 of 768x512, of which a step keeps about ten arrays, 4 GB in all.
_PROGRAM_PIXELS = {"cpu": 1 << 20, "gpu": 1 << 25}

# Padding, in pixels times steps, that a program is worth: about what a fit does
# while the program compiles, 10 s at 20 megapixels per second on one core of a
# CPU. On a GPU a quarter of 10 s at 2000 (both expected, not measured): of 1000
# pictures with sides of 200 to 2000, padding and compilation together then cost
# least.
_COMPILE_PIXEL_STEPS = {"cpu": 2e8, "gpu": 5e9}

# Pixels that wait for others of their kind, at least: 0.8 GB of RGB. If more
# than four full programs wait, some go without being full.
_WAITING_PIXELS = 1 << 26
_WAITING_PROGRAMS = 4


def round_up(count: int) -> int:
  """The next of 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ...

  Usual sides of pictures are among them (256, 512, 640, 768, 1024, 2048). From
  16 on it is a quarter more at most, a tenth more on average.
  """
  step = max(1 << (max(count - 1, 1).bit_length() - 3), 4) if count > 8 else 4
  return max(-(-count // step) * step, 16)


class Part(NamedTuple):
  """Images of one program.

  Attributes:
    items: As they were added.
    size: (height, width) of the program, px.
    num_gaussians: Room for them in the program.
    is_padded: Whether sizes differ.
    is_uneven: Whether numbers of Gaussians differ.
  """

  items: list
  size: tuple[int, int]
  num_gaussians: int
  is_padded: bool
  is_uneven: bool


class _Item(NamedTuple):
  value: object
  size: tuple[int, int]
  num_gaussians: int


@dataclasses.dataclass
class _Kind:
  """Images that can share a program, and what there was of them before.

  What once differed stays a variable of the programs to come, which then are
  the same ones.
  """

  size: tuple[int, int]
  like: Hashable
  num_steps: int
  waiting: list[_Item] = dataclasses.field(default_factory=list)
  sizes: set[tuple[int, int]] = dataclasses.field(default_factory=set)
  counts: set[int] = dataclasses.field(default_factory=set)

  @property
  def pixels(self) -> int:
    """Of one image, with its padding."""
    return self.size[0] * self.size[1]

  def add(self, items: list[_Item]) -> None:
    self.waiting += items
    self.sizes.update(item.size for item in items)
    self.counts.update(item.num_gaussians for item in items)

  def take(self, count: int) -> Part:
    """The first images that wait."""
    taken, self.waiting = self.waiting[:count], self.waiting[count:]
    is_padded, is_uneven = len(self.sizes) > 1, len(self.counts) > 1
    size = self.size if is_padded else taken[0].size
    room = max(self.counts)
    if is_uneven:
      room = min(round_up(room), size[0] * size[1])
    values = [item.value for item in taken]
    return Part(values, size, room, is_padded, is_uneven)


class Buckets:
  """Images that wait until there are enough of them for a program.

  Args:
    platform: "cpu", "gpu" or another.
    num_devices: Which share the images of a program.
  """

  def __init__(self, platform: str, num_devices: int = 1):
    gpu = _PROGRAM_PIXELS["gpu"]
    self._program_px = _PROGRAM_PIXELS.get(platform, gpu) * num_devices
    self._num_devices = num_devices
    self._compile_px_steps = _COMPILE_PIXEL_STEPS.get(
      platform, _COMPILE_PIXEL_STEPS["gpu"]
    )
    self._waiting_px = max(
      _WAITING_PIXELS, _WAITING_PROGRAMS * self._program_px
    )
    self._kinds: dict[Hashable, _Kind] = {}

  def add(
    self,
    value: object,
    *,
    size: tuple[int, int],
    num_gaussians: int,
    num_steps: int,
    like: Hashable = None,
  ) -> list[Part]:
    """Takes an image in.

    Args:
      value: What stands for it in a Part.
      size: (height, width), px.
      num_gaussians: N.
      num_steps: Of its fit.
      like: Only images that are equal in it share a program.

    Returns:
      What is to be fitted now.
    """
    rounded = (round_up(size[0]), round_up(size[1]))
    place = (rounded, like)
    kind = self._kinds.setdefault(place, _Kind(rounded, like, num_steps))
    kind.add([_Item(value, size, num_gaussians)])
    parts = []
    if len(kind.waiting) >= self._most(kind):
      parts.append(kind.take(len(kind.waiting)))
    if self._pixels() > self._waiting_px:
      self._merge()
    while self._pixels() > self._waiting_px:
      fullest = max(self._kinds.values(), key=_waiting_pixels)
      # A power of two, so that the next time it may be the same program.
      parts.append(fullest.take(1 << (len(fullest.waiting).bit_length() - 1)))
    return parts

  def rest(self) -> list[Part]:
    """All that waits, at the end."""
    self._merge()
    parts = []
    for kind in self._kinds.values():
      while kind.waiting:
        parts.append(kind.take(self._most(kind)))
    return parts

  def _most(self, kind: _Kind) -> int:
    """How many images of a kind make a program full."""
    most = max(1, self._program_px // kind.pixels)
    return max(most - most % self._num_devices, self._num_devices)

  def _pixels(self) -> int:
    return sum(map(_waiting_pixels, self._kinds.values()))

  def _merge(self) -> None:
    """Moves images to larger kinds where that is cheaper than a program."""
    kinds = [kind for kind in self._kinds.values() if kind.waiting]
    kinds.sort(key=lambda kind: kind.pixels)
    for i, small in enumerate(kinds):
      # The first that can hold them has the least padding.
      large = next((k for k in kinds[i + 1 :] if _holds(k, small)), None)
      if large is None:
        continue
      padding = (large.pixels - small.pixels) * len(small.waiting)
      if padding * small.num_steps < self._compile_px_steps:
        large.add(small.waiting)
        small.waiting = []


def _waiting_pixels(kind: _Kind) -> int:
  return kind.pixels * len(kind.waiting)


def _holds(large: _Kind, small: _Kind) -> bool:
  return (
    large.like == small.like
    and large.size[0] >= small.size[0]
    and large.size[1] >= small.size[1]
  )
