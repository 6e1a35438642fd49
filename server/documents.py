"""The description of the API as bytes: as JSON, and as a page. Each is made once."""

import base64
import hashlib
from functools import cached_property

import msgspec

from server.docs_page import STYLE, page_of
from server.jobs import Jobs
from server.openapi import describe
from server.stats.statistic import Json

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style, and nothing else from anywhere."""


class Documents:
    """What describes the API that serves `jobs`. Safe for any number of threads."""

    def __init__(self, jobs: Jobs, *, longest_body: int) -> None:
        self._jobs = jobs
        self._longest_body = longest_body

    @cached_property
    def _description(self) -> dict[str, Json]:
        return describe(
            self._jobs.catalogue,
            longest_job=self._jobs.longest_job,
            longest_body=self._longest_body,
        )

    @cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document, JSON."""
        return msgspec.json.encode(self._description)

    @cached_property
    def page(self) -> bytes:
        """The same for people, HTML."""
        return page_of(self._description).encode()
