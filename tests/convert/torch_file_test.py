import pickle
import zipfile

import numpy as np
import pytest

from jaxgs.convert import open_arrays
from jaxgs.io import ImageError
from tests.convert.checkpoints import DATA, IMAGE_GS, malicious, of_pickle
from tests.convert.checkpoints import rewrite as _rewrite
from tests.data import make_checkpoints

# What of_pickle's writes begin and end a pickle of torch.save with.
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = (
  b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0%bX\3\0\0\0cpuK\x18tQ"
)


def _tensor(
  key=b"0", shape=b"K\x0cK\2\x86", stride=b"K\2K\1\x86", offset=b"K\0"
):
  return TENSOR + b"(" + STORAGE % key + offset + shape + stride + b"\x89NtR"


def _state(value):
  return b"\x80\2}X\2\0\0\0xy" + value + b"s."


def _fault(path):
  with pytest.raises(ImageError) as caught:
    for array in open_arrays(path).values():
      array.read()
  message = str(caught.value)
  assert message.startswith(f"{path}: ")
  assert "\n" not in message
  return message


@pytest.mark.parametrize(
  ("name", "columns"),
  (
    ("image_gs.pt", make_checkpoints.IMAGE_GS),
    ("gaussian_image_cholesky.pth.tar", make_checkpoints.CHOLESKY),
    ("gaussian_image_rs.pth.tar", make_checkpoints.ROTATED),
  ),
)
def test_tensors_that_torch_wrote(name, columns):
  arrays = open_arrays(DATA / name)
  for key, value in make_checkpoints.parameters(columns).items():
    assert arrays[key].shape == value.shape
    np.testing.assert_array_equal(arrays[key].read(), value)


def test_views():
  arrays = open_arrays(DATA / "views.pt")
  whole = np.arange(24.0).reshape(4, 6)
  np.testing.assert_array_equal(arrays["whole"].read(), whole)
  np.testing.assert_array_equal(arrays["view"].read(), whole[1:, ::2].T)
  assert arrays["view"].read().dtype == np.float64


def test_byte_order(tmp_path):
  path = tmp_path / "a.pt"
  _rewrite(IMAGE_GS, path, lambda old: b"big", record="byteorder")
  little, big = (open_arrays(p)["xy"].read() for p in (IMAGE_GS, path))
  np.testing.assert_array_equal(big, little.byteswap())


def test_pickles_of_this_file_are_like_those_of_torch(tmp_path):
  path = of_pickle(tmp_path / "a.pt", _state(_tensor()))
  wanted = open_arrays(IMAGE_GS)["xy"].read()
  np.testing.assert_array_equal(open_arrays(path)["xy"].read(), wanted)


def test_nothing_is_run(tmp_path):
  made = tmp_path / "made"
  pickles = list(malicious(made))
  pickle.loads(pickles[0])
  assert made.exists()
  made.unlink()
  for i, data in enumerate(pickles):
    message = _fault(of_pickle(tmp_path / "a.pt", data))
    assert "asks for" in message or "has opcode" in message, (i, message)
    assert not made.exists()


def _nested(depth=60):
  """A tuple of a tuple of ...: 2^60 steps to hash."""
  doubled = b"".join(b"q%ch%c\x86" % (i, i) for i in range(depth))
  return b"\x80\2})" + doubled + b"Ns."


@pytest.mark.parametrize(
  ("data", "reason"),
  (
    (b"", "pickle exhausted"),
    (b"\x80\2}", "exhausted"),
    (b"\x80\2.", "not enough values"),
    (b"\x80\2](}s.", "more than there is"),
    (b"\x80\2].", "no mapping of names to tensors"),
    (b"\x80\2h\5.", "cannot be read"),
    (b"\x80\2]NNs.", "a mapping of other than names"),
    (_nested(), "a mapping of other than names"),
    (b"\x80\2ccollections\nOrderedDict\nK\1\x85R.", "no function of torch"),
    (b"\x80\2K\1)R.", "no function of torch"),
    (b"\x80\2K\1Q.", "cannot be read"),
    (_state(STORAGE % b"0"), "no arrays"),
    (_state(_tensor(key=b"9")), "There is no item"),
    (_state(_tensor(shape=b"K\x0dK\2\x86")), "larger than its storage"),
    (
      _state(_tensor(shape=b"J\0\0\0\1K\2\x86", stride=b"K\0K\0\x86")),
      "larger than its storage",
    ),
    (_state(_tensor(offset=b"K\1")), "incompatible with shape"),
    (_state(_tensor(stride=b"K\3K\1\x86")), "incompatible with shape"),
    (_state(_tensor(stride=b"J\xff\xff\xff\xffK\1\x86")), "impossible size"),
    (_state(_tensor(shape=b"K\x18\x85")), "without a storage"),
    (_state(_tensor(shape=b"\x88K\2\x86")), "impossible size"),
    (_state(_tensor(shape=b"X\1\0\0\0aK\2\x86")), "impossible size"),
    (b"\x80\2" + b"N0" * (1 << 20) + b".", "bytes, over"),
  ),
)
def test_damaged_pickles(tmp_path, data, reason):
  path = of_pickle(tmp_path / "a.pt", data)
  if reason == "no arrays":  # A storage is no tensor.
    assert open_arrays(path) == {}
  else:
    assert reason in _fault(path)


def test_compressed_records(tmp_path):
  """They could be thousands of times larger than the file."""
  path = tmp_path / "a.pt"
  _rewrite(IMAGE_GS, path, lambda data: data, compress=True)
  assert "is compressed" in _fault(path)


def test_damaged_files(tmp_path):
  """Every cut and a flip in every byte: a refusal, or the same numbers."""
  data = IMAGE_GS.read_bytes()
  wanted = make_checkpoints.parameters(make_checkpoints.IMAGE_GS)
  path = tmp_path / "a.pt"
  for cut in range(0, len(data), 61):
    path.write_bytes(data[:cut])
    assert "no zip archive" in _fault(path)
  same = 0
  for place in range(0, len(data), 3):
    flipped = bytearray(data)
    flipped[place] ^= 1 << place % 8
    path.write_bytes(flipped)
    try:
      found = {k: array.read() for k, array in open_arrays(path).items()}
    except ImageError:
      continue
    same += 1
    for name, value in found.items():
      np.testing.assert_array_equal(value, wanted[name])
  assert same < 0.7 * len(data) / 3


def test_other_files(tmp_path):
  path = tmp_path / "a.pt"
  assert "No such file" in _fault(path)
  path.write_bytes(b"")
  assert "no zip archive" in _fault(path)
  path.write_bytes(pickle.dumps([1]))
  assert "no zip archive" in _fault(path)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("readme.txt", "nothing")
  assert "no arrays" in _fault(path)
  np.savez(tmp_path / "a.npz", xy=np.array([{}]))
  assert "Object arrays cannot be loaded" in _fault(tmp_path / "a.npz")
