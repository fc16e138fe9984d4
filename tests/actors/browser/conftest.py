"""The renderer that the tests of a module share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from actors.browser.renderer import ChromiumRenderer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer(request: pytest.FixtureRequest) -> AsyncIterator[ChromiumRenderer]:
    """A started renderer with the settings that the module names `SETTINGS`."""
    renderer = ChromiumRenderer(request.module.SETTINGS)
    await renderer.start()
    yield renderer
    await renderer.stop()
