"""The trained members that the tests of serving use as well."""

from tests.serving.conftest import members, test_images

__all__ = ["members", "test_images"]
