"""The tests that the how-to page shows are tests: they run as it shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.session import snippets

pytest_plugins = ["pytester"]
PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/test-your-events.md"
IMPORTS = "import asyncio\nimport pytest\nfrom headwater import Stream, Write\n"


def test_the_tests_on_the_page_pass(pytester: pytest.Pytester) -> None:
    code = "\n".join(snippet.code for snippet in snippets(PAGE) if snippet.language == "python")
    pytester.makepyfile(IMPORTS + code)
    options = ["-W", "error", "-p", "no:asyncio", "-p", "no:anyio"]
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2)
