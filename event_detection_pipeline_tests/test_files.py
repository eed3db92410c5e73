"""What is written appears in full or not at all, and is not lost where its place was taken."""

from pathlib import Path

import pytest

from event_detection_pipeline.files import folder_in_full


def test_a_folder_whose_block_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), folder_in_full(tmp_path / "adapter") as draft:
        (draft / "weights").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_where_its_place_was_taken_meanwhile_the_folder_stays_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, folder_in_full(tmp_path / "adapter") as draft:
        (draft / "weights").touch()
        (tmp_path / "adapter").write_text("somebody else's")
    assert str(draft) in str(error.value)
    assert (draft / "weights").exists()
