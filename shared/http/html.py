"""HTML answers of routes that are pages too: read-only, without scripts, cookies or outside files."""

import base64
import hashlib
from html import escape

from fastapi import Request
from fastapi.responses import HTMLResponse


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks (`Accept: text/html`)."""
    return "text/html" in request.headers.get("accept", "")


def page(title: str, style: str, body: str) -> HTMLResponse:
    """A whole document; `body` is HTML in which every outside word is escaped. No style but `style` is applied and
    nothing else is loaded (Content-Security-Policy), so a word that slipped through could neither run nor call home."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return HTMLResponse(
        '<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
        headers={
            "Cache-Control": "no-store",
            "Vary": "Accept, Authorization",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none';"
            " form-action 'none'; frame-ancestors 'none'",
        },
    )
