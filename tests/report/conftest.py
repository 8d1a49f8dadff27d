"""What tests of archives share: making one takes seconds."""

from __future__ import annotations

from pathlib import Path

import archives
import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with runs and its archive, s.tar.gz; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    archives.make(folder)
    return folder


@pytest.fixture
def archive(made: Path) -> Path:
    return made / "s.tar.gz"
