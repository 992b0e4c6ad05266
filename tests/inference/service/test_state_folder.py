"""The state folder: for its owner alone, one process at a time, and no half-written map in it."""

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.service.state_folder import alone


def test_one_process_at_a_time_and_the_folder_is_its_owner_s(tmp_path):
    state = tmp_path / "state"
    with alone(state):
        assert state.stat().st_mode & 0o777 == 0o700
        with pytest.raises(InputError, match="another service works on this state folder"), alone(state):
            pass
    with alone(state):
        pass


def test_what_a_kill_left_of_the_map_being_written_anew_is_removed(tmp_path):
    rest, other = tmp_path / ".pseudonyms.csv.k3j2.tmp", tmp_path / ".tokens.json.k3j2.tmp"
    for path in (rest, other, tmp_path / "pseudonyms.csv"):
        path.write_text("pseudonym,kind,id,path\n")
    with alone(tmp_path):
        assert not rest.exists() and other.exists() and (tmp_path / "pseudonyms.csv").exists()
