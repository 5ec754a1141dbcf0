"""QR codes by segno."""

import io

import segno


class QrCode:
    """A text as a picture that a phone can read."""

    def __init__(self, text: str) -> None:
        self._code = segno.make_qr(text)

    def png(self) -> bytes:
        """For a screen."""
        out = io.BytesIO()
        self._code.save(out, kind="png", scale=6)
        return out.getvalue()

    def blocks(self) -> str:
        """Of block characters, light on dark, for a terminal."""
        out = io.StringIO()
        self._code.terminal(out, compact=True)
        return out.getvalue()
