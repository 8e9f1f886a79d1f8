import random

import pytest

from jaxgs.buckets import Buckets, round_up


def test_round_up():
  assert [round_up(n) for n in (1, 16, 17, 33, 64, 65, 100)] == [
    *(16, 16, 20, 40, 64, 80, 112)
  ]
  for side in (256, 512, 640, 768, 1024, 2048, 4096):
    assert round_up(side) == side
  for n in range(16, 9000):
    assert n <= round_up(n) <= 1.25 * n


def parts_of(sizes, platform="gpu", num_devices=1, **options):
  buckets = Buckets(platform, num_devices)
  options = {"num_gaussians": 10, "num_steps": 2000} | options
  parts = []
  for i, size in enumerate(sizes):
    parts += buckets.add(i, size=size, **options)
  return parts + buckets.rest()


def test_one_size_is_neither_padded_nor_uneven():
  (part,) = parts_of([(500, 300)] * 5)
  assert part.items == [0, 1, 2, 3, 4]
  assert (part.size, part.num_gaussians) == ((500, 300), 10)
  assert not part.is_padded
  assert not part.is_uneven


def test_like_sizes_share_a_program_and_others_do_not():
  large = [(2000, 3000), (2040, 3010)]
  parts = parts_of([large[0], (512, 768), large[1], (768, 512)], "cpu")
  assert sorted(part.items for part in parts) == [[0], [1], [2], [3]]
  parts = parts_of([(100, 100), (1000, 120), (97, 110)])
  assert [part.items for part in parts] == [[1, 0, 2]]  # Less than to compile.
  parts = parts_of([(100, 100), (1000, 120), (97, 110)], num_steps=10**6)
  assert [part.items for part in parts] == [[0, 2], [1]]
  assert [part.is_padded for part in parts] == [True, False]
  assert parts[0].size == (112, 112)


def test_full_programs_go_at_once_and_suit_the_devices():
  parts = parts_of([(512, 512)] * 130)
  assert [len(part.items) for part in parts] == [128, 2]
  parts = parts_of([(800, 800)] * 170, num_devices=4)
  assert [len(part.items) for part in parts] == [164, 6]
  buckets = Buckets("cpu")
  options = {"size": (1000, 1000), "num_gaussians": 5, "num_steps": 5}
  assert buckets.add("a", **options)[0].items == ["a"]


def test_other_settings_are_another_program():
  buckets = Buckets("gpu")
  options = {"size": (64, 64), "num_gaussians": 5, "num_steps": 5}
  for like in (3, 4):
    assert not buckets.add(like, **options, like=like)
  assert [part.items for part in buckets.rest()] == [[3], [4]]


def test_room_for_gaussians():
  buckets = Buckets("gpu")
  for n in (3, 9):
    buckets.add(n, size=(3, 3), num_gaussians=n, num_steps=5)
  (part,) = buckets.rest()
  assert part.is_uneven
  assert part.num_gaussians == 9  # Not 16: there are 9 pixels.


@pytest.mark.parametrize(("platform", "most"), (("gpu", 60), ("cpu", 300)))
def test_few_programs_for_many_sizes(platform, most):
  rng = random.Random(0)
  buckets, parts, waiting = Buckets(platform), [], 0
  for i in range(1000):
    size = rng.randint(200, 2000), rng.randint(200, 2000)
    n = size[0] * size[1] // 80
    parts += buckets.add(i, size=size, num_gaussians=n, num_steps=2000)
    waiting = max(waiting, i + 1 - sum(len(part.items) for part in parts))
  assert waiting < 200  # What is held does not grow with the stream.
  parts += buckets.rest()
  assert sorted(i for part in parts for i in part.items) == [*range(1000)]
  programs = {(len(items), *rest) for items, *rest in parts}
  assert len(programs) < most
