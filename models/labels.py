"""The 28 emotions, in the order of the network's softmax. The index is the label id in data files.

0 to 25 are EMOTIC's categories in EMOTIC's order; 26 and 27 come from FER-2013.
"""

from typing import Final

EMOTIONS: Final[tuple[str, ...]] = (
    "affection",
    "anger",
    "annoyance",
    "anticipation",
    "aversion",
    "confidence",
    "disapproval",
    "disconnection",
    "disquietment",
    "doubt_confusion",
    "embarrassment",
    "engagement",
    "esteem",
    "excitement",
    "fatigue",
    "fear",
    "happiness",
    "pain",
    "peace",
    "pleasure",
    "sadness",
    "sensitivity",
    "suffering",
    "surprise",
    "sympathy",
    "yearning",
    "disgust",
    "neutral",
)

FER2013: Final[dict[str, str]] = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
    "neutral": "neutral",
}
"""FER-2013's seven classes by folder name, in the order of the class numbers in its CSV."""


_SPELLINGS: Final[dict[str, str]] = {
    **FER2013,
    "angered": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "surprised": "surprise",
    "peaceful": "peace",
    "annoyed": "annoyance",
    "confident": "confidence",
    "confused": "doubt_confusion",
    "confusion": "doubt_confusion",
    "doubt": "doubt_confusion",
    "embarrassed": "embarrassment",
    "engaged": "engagement",
    "excited": "excitement",
    "tired": "fatigue",
    "pleased": "pleasure",
}
"""Other names of emotions that data sets and models use."""


def title(emotion: str) -> str:
    """The emotion for display: "Doubt/Confusion" for `doubt_confusion`."""
    return "/".join(word.capitalize() for word in emotion.split("_"))


def find(text: str) -> str | None:
    """The emotion that a text names as results do or as tables print it; None if it names none."""
    name = text.strip().lower().replace("/", "_").replace(" ", "_")
    return name if name in EMOTIONS else None


def recognise(text: str) -> str | None:
    """The emotion that a data set or a model calls by this name, such as `angry` or `Fearful`."""
    return find(text) or _SPELLINGS.get(text.strip().lower())
