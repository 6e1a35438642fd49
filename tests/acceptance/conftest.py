"""What the tests of the page share: a browser for each file of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser. It ends with the file's tests: while it runs, no event loop of others can."""
    from tests.support.browser import browsing

    with browsing() as started:
        yield started
