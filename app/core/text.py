"""Text from outside."""


def storable(text: str) -> str:
    """``text`` with ``?`` for lone surrogates, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
