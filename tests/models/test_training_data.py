"""Sources of training data: `PATH[,option...]`, parsed and checked."""

from pathlib import Path

import pytest

from models.errors import DataError, OutsideRootsError
from models.training_data import DataSource, check_source, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("faces", DataSource(Path("faces"))),
        ("fer2013.csv,PublicTest", DataSource(Path("fer2013.csv"), ("publictest",))),
        ("a.mat,val, face", DataSource(Path("a.mat"), ("val", "face"))),
        ("faces, all", DataSource(Path("faces, all"))),
        ("a,b.csv,training", DataSource(Path("a,b.csv"), ("training",))),
    ],
)
def test_options_follow_the_path_and_other_commas_belong_to_it(
    text: str, expected: DataSource
) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no path"),
        (",val", "has no path"),
        ("faces,val", "faces has no option 'val'. Options of its kind: none."),
        ("a.csv,face", "a.csv has no option 'face'. Options of its kind: training, publictest"),
    ],
)
def test_a_source_that_cannot_be_parsed_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse(text)


def test_the_first_option_of_a_group_is_the_default() -> None:
    assert parse("a.mat").one_of("train", "val", "test") == "train"
    assert parse("a.mat,val").one_of("train", "val", "test") == "val"


def test_two_options_of_a_group_are_refused() -> None:
    with pytest.raises(DataError, match="has the options train and val, which exclude each other"):
        parse("a.mat,train,val").one_of("train", "val", "test")


def test_a_checked_source_has_its_real_path_and_its_options(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").touch()
    (tmp_path / "link.csv").symlink_to("fer2013.csv")
    checked = check_source(f"{tmp_path}/link.csv,Training", [tmp_path])
    assert checked == f"{tmp_path.resolve()}/fer2013.csv,training"


def test_a_source_outside_the_roots_is_refused_whether_or_not_it_exists(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    for name in ("outside", "absent"):
        with pytest.raises(OutsideRootsError, match="CUEMILL_IMAGE_ROOTS"):
            check_source(f"{tmp_path}/{name}", [root])


def test_a_source_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv does not exist"):
        check_source(f"{tmp_path}/absent.csv,training", [tmp_path])
