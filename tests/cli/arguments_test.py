import re

import pytest

from jaxgs import cli


@pytest.mark.parametrize(
  ("argv", "reason"),
  (
    ((), "required: command"),
    (("draw",), "invalid choice: 'draw'"),
    (("encode", "a.png"), "required: OUT.jgs"),
    (("encode", "a", "b", "--colour"), "unrecognized arguments: --colour"),
    (("encode", "a", "b", "--num", "5"), "unrecognized arguments: --num"),
    (("encode", "a", "b", "--num_gaussians", "0"), "must be 1 to"),
    (("encode", "a", "b", "--num_gaussians", "x"), "invalid int value: 'x'"),
    (("encode", "a", "b", "--bpp", "nan"), "--bpp: must be"),
    (("encode", "a", "b", "--psnr", "inf"), "--psnr: must be"),
    (("encode", "a", "b", "--bpp", "1", "--psnr", "9"), "not allowed with"),
    (("encode", "a", "b", "--steps", "99999999999"), "--steps: must be"),
    (("encode", "a", "b", "--seed", "4294967296"), "--seed: must be"),
    (("encode", "a", "b", "--preset", "slow"), "invalid choice: 'slow'"),
    (("encode", "a", "b", "--nan", "one"), "invalid choice: 'one'"),
    (("encode", "a", "b", "--profile", "p3"), "invalid choice: 'p3'"),
    (("info",), "arguments FILE --backends is required"),
    (("info", "a", "--backends"), "not allowed with"),
    (("decode", "a", "b", "--height", "0"), "--height: must be"),
    (("decode", "a", "b", "--scale", "0"), "--scale: must be"),
    (("decode", "a", "b", "--scale", "1", "--height", "9"), "not allowed with"),
    (("decode", "a", "b", "--crop", "1,2,3"), "x,y,width,height"),
    (("decode", "a", "b", "--json"), "unrecognized arguments"),
  ),
)
def test_bad_arguments(capsys, argv, reason):
  with pytest.raises(SystemExit) as caught:
    cli.main(argv)
  assert caught.value.code == 2
  out, err = capsys.readouterr()
  assert out == ""
  assert re.fullmatch(r"jaxgs( \w+)?: error: .*\n", err)
  assert reason in err


def test_version_and_help(capsys):
  for argv, text in (
    (["--version"], "jaxgs "),
    (["encode", "--help"], "--bpp"),
  ):
    with pytest.raises(SystemExit) as caught:
      cli.main(argv)
    assert caught.value.code == 0
    assert text in capsys.readouterr().out
