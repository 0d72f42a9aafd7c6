"""Which files of a folder are replies."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.app.reply_files import split_runs_and_replies
from fleetaudit.errors import InputError


@pytest.mark.parametrize("name", ["web1.reply", "web1"])
def test_a_link_in_a_folder_of_replies_is_refused(name: str, tmp_path: Path) -> None:
    """It may point to any file that the user can read, and the beginning of a reply is shown."""
    secret = tmp_path / "secret"
    secret.write_text("root:hash")
    folder = tmp_path / "replies"
    folder.mkdir()
    (folder / "web0.reply").write_text("a reply")
    (folder / name).symlink_to(secret)
    with pytest.raises(InputError, match="a symbolic link, and in a folder of replies") as caught:
        split_runs_and_replies([folder])
    assert caught.value.source == str(folder / name)


def test_a_link_that_is_named_itself_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a reply")
    link = tmp_path / "web1.reply"
    link.symlink_to(tmp_path / "there")
    assert split_runs_and_replies([link]) == ([], [link])
