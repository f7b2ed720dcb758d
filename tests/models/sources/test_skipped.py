"""What was passed over, in words."""

from models.sources.skipped import describe


def test_unread_pictures_are_named_with_a_remedy_the_most_first() -> None:
    counts = {".jxl": 4, ".heic": 9, "other": 1200, "hidden": 1, "@eaDir": 2, "*_s.jpg": 30}
    assert describe(counts, ["@eaDir", "*_s.jpg"]) == [
        "13 files skipped: 9 .heic (install cuemill[heic]), 4 .jxl.",
        "Excluded by name: 30 *_s.jpg, 2 @eaDir.",
        "Passed over as no pictures: 1,200 other and 1 hidden file.",
    ]
    assert describe({"other": 1}) == ["Passed over as no pictures: 1 other file."]
    assert describe({}) == []
