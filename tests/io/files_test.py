import os
import pathlib

import pytest

from jaxgs.io import ImageError, check_writable, write_atomic


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
  def interrupt(handle):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, "fsync", interrupt)
  with pytest.raises(KeyboardInterrupt):
    write_atomic(tmp_path / "a.jgs", b"data")
  assert not list(tmp_path.iterdir())


def test_write_atomic_keeps_mode_and_link(tmp_path):
  real = tmp_path / "real.jgs"
  real.write_bytes(b"old")
  real.chmod(0o640)
  link = tmp_path / "link.jgs"
  link.symlink_to(real)
  write_atomic(link, b"new")
  assert link.is_symlink()
  assert real.read_bytes() == b"new"
  assert real.stat().st_mode & 0o777 == 0o640
  # A new file has the rights that open() would give it.
  write_atomic(tmp_path / "new.jgs", b"new")
  (tmp_path / "plain").write_bytes(b"")
  mode = (tmp_path / "new.jgs").stat().st_mode
  assert mode == (tmp_path / "plain").stat().st_mode
  assert len(list(tmp_path.iterdir())) == 4


def test_write_atomic_accepts_the_longest_name(tmp_path):
  path = tmp_path / ("n" * 251 + ".jgs")
  write_atomic(path, b"data")
  assert path.read_bytes() == b"data"


def test_check_writable(tmp_path):
  old = tmp_path / "old.png"
  old.write_bytes(b"old")
  before = old.stat()
  check_writable(old)
  check_writable(tmp_path / "new.PNG")
  check_writable(tmp_path / "new.jgs", suffixes=(".jgs",))
  after = old.stat()
  assert old.read_bytes() == b"old"
  assert (before.st_mtime_ns, before.st_ino) == (
    after.st_mtime_ns,
    after.st_ino,
  )
  assert [p.name for p in tmp_path.iterdir()] == ["old.png"]


def test_check_writable_refuses(tmp_path, monkeypatch):
  (tmp_path / "folder.png").mkdir()
  (tmp_path / "file").write_bytes(b"")
  os.mkfifo(tmp_path / "pipe.png")
  cases = {
    tmp_path / "folder.png": "is a directory",
    tmp_path / "missing" / "a.png": "no such folder",
    tmp_path / "file" / "a.png": "Not a directory|no such folder",
    tmp_path / "pipe.png": "not a regular file",
    tmp_path / "a.jgs": "unknown suffix",
    tmp_path / "a": "no suffix",
    tmp_path / ("n" * 300 + ".png"): "too long",
    pathlib.Path("/dev/null.png").with_name("a\0.png"): "null",
  }
  for path, reason in cases.items():
    with pytest.raises(ImageError, match=reason) as caught:
      check_writable(path)
    assert "\n" not in str(caught.value)
  # What a read-only file system does; root passes every permission bit.
  real_open = os.open

  def refuse(path, flags, *args, **options):
    if flags & os.O_CREAT:
      raise OSError(30, "Read-only file system")
    return real_open(path, flags, *args, **options)

  monkeypatch.setattr(os, "open", refuse)
  with pytest.raises(ImageError, match="Read-only file system"):
    check_writable(tmp_path / "a.png")
