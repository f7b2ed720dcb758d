"""The 28 emotions, in the order of the network's softmax: index = label id in the data files.

0-25 are EMOTIC's categories in EMOTIC's order; 26 and 27 come from FER-2013.
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

# FER-2013's seven classes by their folder's name; its CSV numbers them in this order except that it puts
# neutral last, as does this mapping.
FER2013: Final[dict[str, str]] = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
    "neutral": "neutral",
}


def title(emotion: str) -> str:
    """The emotion as people write it: `doubt_confusion` is "Doubt/Confusion"."""
    return "/".join(word.capitalize() for word in emotion.split("_"))
