"""A folder or a glob brings in only what lies in it."""

from pathlib import Path

import pytest

from suexp.data.images import Images
from suexp.data.paths import found_files
from suexp.errors import UserError
from tests.data.test_images import fill


def test_a_glob_s_links_stay_in_its_folder(in_tmp: Path) -> None:
    (in_tmp / "secret.txt").write_text("secret")
    folder = in_tmp / "texts" / "below"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").symlink_to(folder / "a.txt")
    patterns = (f"{in_tmp}/texts/*/*.txt", "texts/**/*.txt", "texts/below/?.txt")
    for pattern in patterns:
        assert [path.name for path in found_files("data.train", pattern)] == ["a.txt", "b.txt"]
    (folder / "c.txt").symlink_to("../../secret.txt")
    for pattern in patterns:
        with pytest.raises(UserError, match=r"c\.txt leads out of .*name that file") as caught:
            found_files("data.train", pattern)
        assert "\n" not in str(caught.value)
    assert found_files("data.train", "texts/below/c.txt")  # named by the user himself
    assert len(found_files("data.train", "*/below/[ab].txt")) == 2


def test_a_folder_of_pictures_too(tmp_path: Path) -> None:
    fill(tmp_path / "own", count=2)
    fill(tmp_path / "other", count=1)
    (tmp_path / "own" / "x.png").symlink_to(tmp_path / "other" / "000.png")
    with pytest.raises(UserError, match=r"data\.files: .*x\.png leads out of .*own, to .*other"):
        Images(str(tmp_path / "own")).fingerprint()
