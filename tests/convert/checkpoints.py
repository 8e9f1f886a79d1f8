"""Checkpoints with something changed."""

import pathlib
import pickle
import zipfile

DATA = pathlib.Path(__file__).parents[1] / "data"
IMAGE_GS = DATA / "image_gs.pt"


def rewrite(source, target, edit, *, record="data.pkl", compress=False):
  """Copies an archive with `edit` applied to the bytes of a record."""
  kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
  with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
    for name in old.namelist():
      data = old.read(name)
      if name.endswith(f"/{record}"):
        changed = edit(data)
        assert changed != data or compress
        data = changed
      new.writestr(name, data, kind)
  return target


def of_pickle(target, data):
  """A checkpoint with this pickle."""
  return rewrite(IMAGE_GS, target, lambda old: data)


class Touch:
  """Makes a file when unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.Path(self.path),)


def malicious(path):
  """Pickles of every protocol that would make a file."""
  for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    yield pickle.dumps({"xy": Touch(path)}, protocol)
  # Without GLOBAL and REDUCE.
  yield b"(S'touch " + str(path).encode() + b"'\nios\nsystem\n."
