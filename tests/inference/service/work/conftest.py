"""What tests of the desk share."""

import pytest
from made_desk import MadeDesk


@pytest.fixture
def made(bundle, tmp_path):
    one = MadeDesk(tmp_path / "state", bundle)
    yield one
    one.close()
