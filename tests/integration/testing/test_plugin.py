"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

MODELS = """
    import asyncio
    from datetime import timedelta
    from typing import Literal
    import pytest
    from headwater import Event, Stream, Write

    class Noted(Event):
        type: Literal["plugin_noted"] = "plugin_noted"
        text: str

    ONE = Stream("paper", "one")

    async def write_and_read(log):
        await log.append(Write(ONE, [Noted(text="hello")]))
        return [recorded.event async for recorded in log.stream(ONE)]
"""

WITHOUT = ["-p", "no:asyncio", "-p", "no:anyio", "-p", "no:timeout"]
AUTO = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
WITH_ASYNCIO = ["-p", "no:anyio", *AUTO]

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    def run(test: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(MODELS + test)
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *options)

    return run


def test_a_log_is_open_and_knows_the_models_without_any_configuration(run: Run) -> None:
    result = run(
        """
    def test_it(hw_log, hw_run):
        assert hw_run(write_and_read(hw_log)) == [Noted(text="hello")]

    def test_each_test_has_its_own(hw_log, hw_run):
        assert hw_run(hw_log.version(ONE)) == 0
        """,
        *WITHOUT,
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("options", [WITHOUT, WITH_ASYNCIO], ids=["alone", "asyncio"])
def test_a_marked_test_sleeps_thirty_days_at_once_and_the_log_sees_them(run: Run, options: list[str]) -> None:
    result = run(
        """
    class TestTime:
        @pytest.mark.headwater_time
        @pytest.mark.parametrize("days", [30])
        async def test_it(self, hw_log, hw_time, days):
            await hw_log.append(Write(ONE, [Noted(text="first")]))
            await asyncio.sleep(days * 86_400)
            await hw_log.append(Write(ONE, [Noted(text="second")]))
            first, second = [event async for event in hw_log.stream(ONE)]
            assert second.recorded_at - first.recorded_at >= timedelta(days=30)
            assert second.recorded_at == hw_time.now()
            assert hw_time.elapsed == 30 * 86_400
        """,
        *options,
    )
    result.assert_outcomes(passed=1)


def test_a_test_of_pytest_asyncio_uses_the_log_in_real_time(run: Run) -> None:
    result = run(
        """
    import time
    async def test_it(hw_log):
        assert await write_and_read(hw_log) == [Noted(text="hello")]
        [event] = [event async for event in hw_log.stream(ONE)]
        assert abs(event.recorded_at.timestamp() - time.time()) < 60
        """,
        *WITH_ASYNCIO,
    )
    result.assert_outcomes(passed=1)


def test_a_subscription_ends_with_its_test(run: Run) -> None:
    result = run(
        """
    @pytest.mark.headwater_time
    async def test_it(hw_log):
        heard = []
        async def listen():
            async for recorded in hw_log.subscribe():
                heard.append(recorded.event.text)
        listening = asyncio.create_task(listen())
        await write_and_read(hw_log)
        await asyncio.sleep(3600)
        assert heard == ["hello"]
        """,
        *WITHOUT,
    )
    result.assert_outcomes(passed=1)


def test_a_test_that_would_wait_for_ever_fails_at_once_and_says_who_waits(run: Run) -> None:
    result = run(
        """
    @pytest.mark.headwater_time
    async def test_it():
        await asyncio.Event().wait()
        """,
        *WITHOUT,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Deadlock*", "*test_a_test_that_would*"])


def test_a_failure_in_virtual_time_shows_the_assertion(run: Run) -> None:
    result = run(
        """
    @pytest.mark.headwater_time
    async def test_it():
        await asyncio.sleep(86_400)
        assert 1 + 1 == 3
        """,
        *WITHOUT,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert (1 + 1) == 3*"])


def test_models_can_be_chosen(run: Run) -> None:
    result = run(
        """
    @pytest.fixture
    def hw_models():
        return []

    def test_it(hw_log, hw_run):
        with pytest.raises(Exception, match="No model is registered"):
            hw_run(write_and_read(hw_log))
        """,
        *WITHOUT,
    )
    result.assert_outcomes(passed=1)


def test_two_models_of_one_name_do_not_disturb(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        other="from typing import Literal\nfrom headwater import Event\n"
        "class Noted(Event):\n    type: Literal['plugin_noted'] = 'plugin_noted'\n    number: int\n"
    )
    result = run(
        """
    import other
    def test_it(hw_log, hw_run):
        assert hw_run(write_and_read(hw_log)) == [Noted(text="hello")]
        """,
        *WITHOUT,
    )
    result.assert_outcomes(passed=1)


def test_a_project_that_does_not_use_the_plugin_imports_nothing_of_headwater(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
    import sys
    def test_it():
        assert "headwater" not in sys.modules
        assert "pydantic" not in sys.modules
        """
    )
    options = ["-p", "no:asyncio", "-p", "no:anyio", "-p", "no:hypothesispytest"]
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)


def test_headwater_imports_without_pytest() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "import headwater, headwater.testing.given, headwater.testing.plugin, headwater.testing.crash_points\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
