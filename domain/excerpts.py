"""How a text is shortened where it is shown."""

CUT = "…"


def excerpt(text: str, length: int) -> str:
    """Return ``text``, or its first characters and the mark that tells that it goes on.

    The mark also tells where a secret may have been cut in two: see :mod:`vault.redaction`.
    """
    return text if len(text) <= length else text[: length - 1] + CUT
