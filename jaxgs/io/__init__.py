"""Image files to arrays and back; the image libraries are imported late."""

from jaxgs.io.decoded import MAX_SIDE_PX
from jaxgs.io.files import (
  IMAGE_SUFFIXES,
  ImageError,
  check_writable,
  write_atomic,
)
from jaxgs.io.profiles import icc_name
from jaxgs.io.read import Image, read_image
from jaxgs.io.write import (
  check_format,
  profile_fault,
  write_image,
  write_samples,
)

__all__ = [
  "IMAGE_SUFFIXES",
  "MAX_SIDE_PX",
  "Image",
  "ImageError",
  "check_format",
  "check_writable",
  "icc_name",
  "profile_fault",
  "read_image",
  "write_atomic",
  "write_image",
  "write_samples",
]
