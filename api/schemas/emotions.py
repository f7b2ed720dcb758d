"""Emotions over HTTP."""

from pydantic import BaseModel, Field


class Emotion(BaseModel):
    index: int = Field(description="Position among the network's outputs, from 0.")
    name: str = Field(description="As in results and filters: `doubt_confusion`.")
    title: str = Field(description='For display: "Doubt/Confusion".')
