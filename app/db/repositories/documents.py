"""Between frozen models and stored documents."""

from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel

from app.core.text import storable
from app.db.database import Document

Model = TypeVar("Model", bound=BaseModel)


def to_document(model: BaseModel, *, key: str) -> Document:
    """The document of ``model``, with the field ``key`` as its ``_id`` too."""
    document = to_value(model)
    return {"_id": document[key], **document}


def to_value(model: BaseModel) -> Document:
    """The sub-document of ``model``, as a ``$set`` or ``$push`` takes it."""
    return {name: _plain(value) for name, value in model.model_dump(mode="python").items()}


def from_document(kind: type[Model], document: Document) -> Model:
    """The model that ``document`` holds; fields of newer versions are passed over."""
    return kind.model_validate(document)


def _plain(value: object) -> object:
    # Engines take only JSON's types and datetimes: enums become their text, tuples become lists.
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
