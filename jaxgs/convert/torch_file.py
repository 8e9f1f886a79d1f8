"""Tensors of a PyTorch checkpoint, without PyTorch and without its pickle.

torch.save writes (since 1.6) a zip archive of uncompressed records: `data.pkl`,
a pickle of protocol 2 in which a tensor is a call of
`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)` and a
storage a persistent id `("storage", type, key, device, numel)`; `data/<key>`,
the storage's bytes; and, in newer ones, `byteorder`
(https://pytorch.org/docs/stable/notes/serialization.html).

Unpickling would call what the file says. Here a machine for the thirty
opcodes that torch.save needs follows the stream. What a stream may name is a
table of names, never of callables, so that there is nothing to run; it admits
less than `torch.load(weights_only=True)` does, which would need an installation
of torch. Arrays are read when asked for, once their shapes are known to be
sensible.
"""

import math
import pickletools
import zipfile
from typing import NamedTuple

import numpy as np

# A checkpoint of a few tensors and its optimiser takes a few kB.
_PICKLE_BYTES_MAX = 1 << 20

_STORAGES = {
  "torch FloatStorage": "f4",
  "torch DoubleStorage": "f8",
  "torch HalfStorage": "f2",
  "torch LongStorage": "i8",
  "torch IntStorage": "i4",
  "torch ShortStorage": "i2",
  "torch CharStorage": "i1",
  "torch ByteStorage": "u1",
  "torch BoolStorage": "?",
  "torch BFloat16Storage": "V2",  # numpy has none: opaque, refused as no float.
}
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED_DICT = "collections OrderedDict"
_GLOBALS = {*_STORAGES, _TENSOR, _PARAMETER, _ORDERED_DICT}


class _Global(NamedTuple):
  """A function or class that the stream names."""

  name: str


class _Storage(NamedTuple):
  """A record of the archive."""

  dtype: str
  key: str


class Tensor(NamedTuple):
  """Where a tensor lies in its storage; counts are in elements."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  stride: tuple[int, ...]


def find_pickle(archive: zipfile.ZipFile) -> str | None:
  """The name of the pickle if the archive is one of torch.save, else None."""
  names = archive.namelist()
  found = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
  return found[0] if len(found) == 1 else None


def list_tensors(archive: zipfile.ZipFile, pickle: str) -> dict[str, Tensor]:
  """The tensors of a state dict, not read yet.

  Args:
    archive: A zip archive of torch.save.
    pickle: From `find_pickle`.

  Returns:
    Names to tensors, of the mapping "state_dict" if there is one.

  Raises:
    ValueError: The stream is damaged, or says what a state dict does not.
  """
  root = _follow(_record(archive, pickle, _PICKLE_BYTES_MAX))
  if isinstance(root, dict):
    root = root.get("state_dict", root)
  if not isinstance(root, dict):
    raise ValueError("the checkpoint holds no mapping of names to tensors")
  return {str(k): v for k, v in root.items() if isinstance(v, Tensor)}


def read_tensor(
  archive: zipfile.ZipFile, pickle: str, tensor: Tensor
) -> np.ndarray:
  """Reads a tensor.

  Args:
    archive: The archive.
    pickle: From `find_pickle`.
    tensor: From `list_tensors`.

  Returns:
    An array of its shape; two bytes without a type for each bfloat16.

  Raises:
    ValueError: It does not lie within its storage.
  """
  folder = pickle.removesuffix("data.pkl")
  order = "little"  # All machines that torch runs on, but for mainframes.
  if f"{folder}byteorder" in archive.namelist():
    order = _record(archive, f"{folder}byteorder", 16).decode()
  dtype = np.dtype(tensor.storage.dtype).newbyteorder(order)
  data = _record(archive, f"{folder}data/{tensor.storage.key}")
  if math.prod(tensor.shape) * dtype.itemsize > len(data):
    raise ValueError("a tensor is larger than its storage")
  strides = [step * dtype.itemsize for step in tensor.stride]
  begin = tensor.offset * dtype.itemsize
  # numpy checks that it ends within, too.
  return np.ndarray(tensor.shape, dtype, data, begin, strides).copy()


def _record(archive: zipfile.ZipFile, name: str, most: int = 1 << 62) -> bytes:
  info = archive.getinfo(name)
  if info.compress_type != zipfile.ZIP_STORED:
    raise ValueError(f"record {name} is compressed")
  if info.file_size > most:
    raise ValueError(f"record {name} has {info.file_size} bytes, over {most}")
  return archive.read(info)


def _follow(data: bytes):
  """What a stream builds: plain Python objects and Tensors."""
  stack, marks, memo = [], [], {}

  def pop(count: int) -> list:
    begin = len(stack) - count
    if begin < (marks[-1] if marks else 0):
      raise ValueError("the pickle takes more than there is")
    return cut(begin)

  def cut(begin: int) -> list:
    items = stack[begin:]
    del stack[begin:]
    return items

  for opcode, value, _ in pickletools.genops(data):
    match opcode.name:
      case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
        stack.append(value)
      case "BINUNICODE":
        stack.append(value)
      case "NONE" | "NEWTRUE" | "NEWFALSE":
        stack.append({"NONE": None, "NEWTRUE": True}.get(opcode.name, False))
      case "EMPTY_TUPLE":
        stack.append(())
      case "EMPTY_LIST":
        stack.append([])
      case "EMPTY_DICT":
        stack.append({})
      case "MARK":
        marks.append(len(stack))
      case "TUPLE":
        stack.append(tuple(cut(marks.pop())))
      case "TUPLE1" | "TUPLE2" | "TUPLE3":
        stack.append(tuple(pop(int(opcode.name[-1]))))
      case "APPEND" | "APPENDS":
        items = pop(1) if opcode.name == "APPEND" else cut(marks.pop())
        stack[-1].extend(items)
      case "SETITEM" | "SETITEMS":
        items = pop(2) if opcode.name == "SETITEM" else cut(marks.pop())
        _fill(stack[-1], items)
      case "BINPUT" | "LONG_BINPUT":
        memo[value] = stack[-1]
      case "BINGET" | "LONG_BINGET":
        stack.append(memo[value])
      case "GLOBAL":
        stack.append(_named(value))
      case "BINPERSID":
        stack.append(_storage(*pop(1)))
      case "REDUCE":
        stack.append(_call(*pop(2)))
      case "BUILD":
        pop(1)  # The attributes of an OrderedDict: nobody asks for them.
      case "STOP":
        (result,) = stack
        return result
      case "PROTO":
        pass
      case name:
        raise ValueError(f"the pickle has opcode {name}: not of torch.save")
  raise ValueError("the pickle has no end")


def _fill(target, items: list) -> None:
  keys, values = items[::2], items[1::2]
  # Others could take for ever to hash.
  if not isinstance(target, dict) or {type(k) for k in keys} - {str, int}:
    raise ValueError("the pickle has a mapping of other than names")
  target.update(zip(keys, values, strict=True))


def _named(name: str) -> _Global:
  if name not in _GLOBALS:
    raise ValueError(
      f"the pickle asks for {name[:80].replace(' ', '.')}: only tensors are"
      " read from a checkpoint, and nothing is run"
    )
  return _Global(name)


def _storage(reference) -> _Storage:
  kind, type_, key, *_ = reference
  dtype = _STORAGES.get(type_.name) if isinstance(type_, _Global) else None
  if kind != "storage" or dtype is None or not isinstance(key, str):
    raise ValueError("the pickle refers to what is no storage")
  return _Storage(dtype, key)


def _call(function, arguments: tuple):
  """What the few functions that a stream may name return."""
  if function == _Global(_ORDERED_DICT) and not arguments:
    return {}
  if function == _Global(_PARAMETER):
    return arguments[0]
  if function != _Global(_TENSOR):
    raise ValueError("the pickle calls what is no function of torch.save")
  storage, offset, shape, stride, *_ = arguments
  counts = (offset, *shape, *stride)
  if not isinstance(storage, _Storage) or len(shape) != len(stride):
    raise ValueError("the pickle has a tensor without a storage")
  if any(type(n) is not int or not 0 <= n < 1 << 48 for n in counts):
    raise ValueError("the pickle has a tensor of impossible size")
  return Tensor(storage, offset, tuple(shape), tuple(stride))
