"""The few pages of signing in: plain HTML without scripts, which nobody can frame."""

from collections.abc import Iterable
from html import escape

from starlette.responses import HTMLResponse, Response

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:12vh auto;max-width:26rem;padding:0 1rem}"
    "input,button{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin:.25rem 0}"
    "code{word-break:break-all}.fault{color:#b00020}"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, *parts: str, status: int = 200, goes_to: str = "") -> Response:
    """A page. `parts` are HTML; `goes_to` is an origin to which one of its forms may lead."""
    body = "\n".join(parts)
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {goes_to}".rstrip()
    )
    headers = {
        "cache-control": "no-store",
        "content-security-policy": policy,
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
    html = _PAGE.format(title=escape(title), style=_STYLE, body=body)
    return HTMLResponse(html, status, headers)


def text(words: str, *, fault: bool = False) -> str:
    """A paragraph."""
    return f"<p{' class=fault' if fault else ''}>{escape(words)}</p>" if words else ""


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for."""
    shown = (
        f"<dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd>" for name, value in rows
    )
    return f"<dl>{''.join(shown)}</dl>"


def link(address: str, words: str) -> str:
    """A link."""
    return f'<p><a href="{escape(address)}">{escape(words)}</a></p>'


def form(action: str, csrf: str, *inputs: str) -> str:
    """A form that is sent to `action`, with the proof that it is one of ours."""
    proof = hidden("csrf", csrf)
    return f'<form method="post" action="{escape(action)}">{proof}{"".join(inputs)}</form>'


def hidden(name: str, value: str) -> str:
    """A value that travels along."""
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def field(name: str, label: str, *, kind: str = "text", fill: str = "off") -> str:
    """A field to type into; `fill` is what a browser may put there."""
    return (
        f'<label>{escape(label)}<input name="{escape(name)}" type="{kind}" autocomplete="{fill}" '
        'required maxlength="512"></label>'
    )


def button(words: str, name: str = "", value: str = "") -> str:
    """A button that sends its form, and says which one it was."""
    told = f' name="{escape(name)}" value="{escape(value)}"' if name else ""
    return f"<button{told}>{escape(words)}</button>"
