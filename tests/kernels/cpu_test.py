from tests.kernels.rasterize_test_base import RasterizeTestBase


class TestCpu(RasterizeTestBase):
  backend = "cpu"
