import importlib.util

import numpy as np
import pytest
from PIL import Image

from jaxgs import plots
from jaxgs.io import ImageError

# A ramp whose brightness tells the frames apart; odd sides.
FRAMES = [
  np.stack([np.full((21, 33), value), *[np.full((21, 33), 40)] * 2], -1).astype(
    np.uint8
  )
  for value in (0, 100, 200)
]


@pytest.mark.parametrize("suffix", (".gif", ".webp"))
def test_frames_come_back(tmp_path, suffix):
  path = tmp_path / f"a{suffix}"
  plots.write_film(path, FRAMES, frames_per_second=20, hold_seconds=1.5)
  with Image.open(path) as film:
    assert (film.n_frames, film.size) == (3, (33, 21))
    assert film.info["loop"] == 0
    durations = []
    for i, frame in enumerate(FRAMES):
      film.seek(i)
      found = np.asarray(film.convert("RGB"), np.float64)
      np.testing.assert_allclose(found.mean((0, 1)), frame[0, 0], atol=4)
      durations.append(film.info["duration"])
  assert durations == [50, 50, 1500]


@pytest.mark.skipif(
  importlib.util.find_spec("imageio_ffmpeg") is None,
  reason="imageio-ffmpeg is not installed",
)
# Of its reader, which the test needs and the code does not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*os.fork:RuntimeWarning")
def test_mp4(tmp_path):
  import imageio_ffmpeg

  path = tmp_path / "a.mp4"
  plots.write_film(path, FRAMES, hold_seconds=0.4)
  about, *frames = imageio_ffmpeg.read_frames(str(path))
  assert about["source_size"] == (34, 22)
  found = [np.frombuffer(f, np.uint8).reshape(22, 34, 3) for f in frames]
  assert len(found) == 6
  for frame, wanted in zip(found, [*FRAMES, *[FRAMES[2]] * 3], strict=True):
    np.testing.assert_allclose(frame.mean((0, 1)), wanted[0, 0], atol=8)


def test_mp4_without_its_package(tmp_path, monkeypatch):
  # find_spec of what is None in sys.modules is an error of its own.
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  for check in (plots.check_film, plots.check_film_format):
    with pytest.raises(ImageError, match="pip install imageio-ffmpeg"):
      check(tmp_path / "a.mp4")
  plots.check_film(tmp_path / "a.gif")
  assert not list(tmp_path.iterdir())


def test_refusals(tmp_path):
  with pytest.raises(ImageError, match=r"expected one of \.gif, \.webp, \.mp4"):
    plots.check_film(tmp_path / "a.avi")
  with pytest.raises(ImageError, match="no such folder"):
    plots.check_film(tmp_path / "no" / "a.gif")
  with pytest.raises(ValueError, match="of one size"):
    plots.write_film(tmp_path / "a.gif", [])
  with pytest.raises(ValueError, match="of one size"):
    plots.write_film(tmp_path / "a.gif", [FRAMES[0], FRAMES[1][1:]])
  assert not list(tmp_path.iterdir())
