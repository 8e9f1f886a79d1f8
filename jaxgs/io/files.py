"""Files that are written whole or not at all."""

import contextlib
import os
import pathlib
import stat
from collections.abc import Collection

IMAGE_SUFFIXES = (
  ".png",
  ".jpg",
  ".jpeg",
  ".webp",
  ".bmp",
  ".tif",
  ".tiff",
  ".exr",
  ".hdr",
)


class ImageError(ValueError):
  """A file cannot be read or written: one line with its name and the fault."""

  def __init__(self, path: str | os.PathLike, reason: str):
    self.path = os.fspath(path)
    # The reason may quote another library, whose text may span lines.
    super().__init__(f"{self.path}: {' '.join(reason.split())}")


def _resolve_target(path: str | os.PathLike) -> pathlib.Path:
  """The file that a write to `path` replaces, or ImageError if none can be."""
  if "\0" in os.fspath(path):
    raise ImageError(os.fspath(path).replace("\0", "?"), "null byte in name")
  # A symbolic link stays a link: the file behind it is replaced.
  target = pathlib.Path(os.path.realpath(path))
  try:
    mode = target.stat().st_mode
  except FileNotFoundError:
    mode = None
  except OSError as error:
    raise ImageError(path, error.strerror or str(error)) from error
  if mode is None:
    if not target.parent.is_dir():
      raise ImageError(path, f"no such folder: {target.parent}")
  elif stat.S_ISDIR(mode):
    raise ImageError(path, "is a directory")
  elif not stat.S_ISREG(mode):
    # Renaming onto /dev/null would replace the device by a file.
    raise ImageError(path, "not a regular file")
  elif not os.access(target, os.W_OK):
    raise ImageError(path, "is read-only")
  return target


def _open_beside(target: pathlib.Path) -> tuple[int, pathlib.Path]:
  """Opens a new file in the folder of `target`, with the umask's rights."""
  # Not derived from the target's name, which may already have the longest
  # length. tempfile.mkstemp would make it private to the user for ever.
  temporary = target.with_name(f".jaxgs-{os.urandom(8).hex()}.tmp")
  flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
  return os.open(temporary, flags, 0o666), temporary


def check_suffix(path: str | os.PathLike, suffixes: Collection[str]) -> str:
  """Returns the lower-case suffix of `path`.

  Args:
    path: a file name.
    suffixes: the suffixes allowed, lower case, with their dot.

  Raises:
    ImageError: the suffix is not among them.
  """
  suffix = pathlib.PurePath(path).suffix.lower()
  if suffix not in suffixes:
    found = f"unknown suffix {suffix!r}" if suffix else "no suffix"
    raise ImageError(path, f"{found}, expected one of {', '.join(suffixes)}")
  return suffix


def check_writable(
  path: str | os.PathLike, *, suffixes: Collection[str] = IMAGE_SUFFIXES
) -> None:
  """Checks that a later write to `path` can work, before the long work.

  Leaves nothing behind and does not touch an existing file.

  Args:
    path: the file to be written.
    suffixes: the suffixes allowed, lower case, with their dot.

  Raises:
    ImageError: unknown suffix, missing folder, a directory or a device in the
      place of the file, a read-only file, or a folder that takes no new file.
  """
  check_suffix(path, suffixes)
  target = _resolve_target(path)
  # Only a try is sure: root passes every check of permission bits, and a
  # network or read-only file system has rules of its own.
  try:
    handle, temporary = _open_beside(target)
    os.close(handle)
    temporary.unlink()
  except OSError as error:
    raise ImageError(path, error.strerror or str(error)) from error


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
  """Writes a file so that others see the old content or all of the new.

  The bytes go to a temporary file in the same folder, which then takes the
  name. An existing file's permission bits are kept, and a symbolic link stays.

  Args:
    path: the file to create or replace; any suffix.
    data: its whole content.

  Raises:
    ImageError: it cannot be written; the old file is as before, and no
      temporary file is left.
  """
  target = _resolve_target(path)
  temporary = None
  try:
    handle, temporary = _open_beside(target)
    with os.fdopen(handle, "wb") as file:
      file.write(data)
      file.flush()
      # Without it a power cut can leave the new name on an empty file.
      os.fsync(file.fileno())
    if target.exists():
      os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
    os.replace(temporary, target)
    temporary = None
  except OSError as error:
    raise ImageError(path, error.strerror or str(error)) from error
  finally:
    if temporary is not None:
      with contextlib.suppress(OSError):
        temporary.unlink()
