"""HTML in a text: what a person who reads the page would never see is taken out. Pure.

Tags stay when HTML knows them as harmless, with the attributes that say nothing in hiding. Those
that HTML does not know are as a rule no HTML (`Vec<T>`): they stay, without attributes. One pass
takes linear time; its result may hold tags that were in pieces before, so callers repeat it.
"""

import re
from functools import partial
from typing import Final

_ALLOWED = """
a abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption
figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q rp rt ruby samp small span strong sub
summary sup table tbody td tfoot th thead tr tt u ul var
"""
_ATTRIBUTES = """
align alt cite colspan datetime dir height href id lang open rowspan src start width
"""
_RAW_NAMES = """
head iframe math noembed noframes noscript object script style svg template textarea title xmp
"""
_OTHERS = """
address applet area article aside audio base basefont bdi bdo bgsound big blink body button canvas
center data datalist dialog dir embed fieldset font footer form frame frameset header hgroup html
input isindex label legend link listing main map mark marquee menu menuitem meta meter nav nobr
optgroup option output param picture plaintext portal progress rb rtc s search section select slot
source spacer strike time track video wbr
"""
ALLOWED: Final = frozenset(_ALLOWED.split())
ATTRIBUTES: Final = frozenset(_ATTRIBUTES.split())
RAW: Final = frozenset(_RAW_NAMES.split())
"""Elements that go with all that is in them."""
OTHERS: Final = frozenset(_OTHERS.split())
"""Elements that go, while what is in them stays."""
_HIDDEN = re.compile(
    r"<!--(?:>|->|(?P<comment>.*?)(?:--!?>|(?P<open>\Z)))"
    r"|<!\[CDATA\[.*?(?:\]\]>|(?P<cdata>\Z))"
    r"|<\?(?P<pi>[^<>]*+)>"
    r"|<![A-Za-z][^<>]*+>",
    re.DOTALL,
)
_NAME = r"[A-Za-z][A-Za-z0-9:_-]*+"
_ATTRIBUTE = r"[A-Za-z_:@][\w:.@-]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'=<>`]++))?+"
_TAG = re.compile(
    rf"<(?P<close>/?)(?P<name>{_NAME})(?P<rest>(?:[\s/]++{_ATTRIBUTE})*+[\s/]*+)>", re.DOTALL
)
_EACH = re.compile(rf"({_NAME})(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s\"'=<>`]++))?+")


def without_hidden(text: str, *, document: bool) -> str:
    """The text without comments, CDATA sections, instructions, and tags that are not allowed.

    In a `document`, what is opened and never closed reaches to its end, as it does in a page. In
    other texts (a listing, a log) only the beginning goes, and the rest stays to be seen.
    """
    if "<" not in text:
        return text
    text = _HIDDEN.sub(partial(_remaining, document=document), text)
    return _TAG.sub(_tag, _without_raw(text, document=document))


def _remaining(found: re.Match[str], *, document: bool) -> str:
    unclosed = found["open"] is not None or found["cdata"] is not None
    return f"&lt;{found[0][1:]}" if unclosed and not document else ""


def _without_raw(text: str, *, document: bool) -> str:
    """The text without RAW elements: each name's end tags are looked for once, from the left."""
    kept: list[str] = []
    place = 0
    over: set[str] = set()
    for found in _RAW.finditer(text):
        name = found[1].lower()
        if found.start() < place or name in over:
            continue
        end = _END[name].search(text, found.end())
        if end is None:
            over.add(name)
            if not document:
                continue
        kept.append(text[place : found.start()])
        place = len(text) if end is None else end.end()
    return "".join([*kept, text[place:]]) if kept or place else text


def _tag(found: re.Match[str]) -> str:
    name, rest = found["name"].lower(), found["rest"]
    if name in OTHERS or name in RAW:
        return ""
    slash = "/" if rest.rstrip().endswith("/") else ""
    if not rest.strip(" \t\r\n/"):
        return found[0]
    if found["close"] or name not in ALLOWED:
        return f"<{found['close']}{found['name']}{slash}>"
    given = [(one[1].lower(), one[0]) for one in _EACH.finditer(rest)]
    if all(key in ATTRIBUTES for key, _ in given):
        return found[0]
    kept = "".join(f" {said}" for key, said in given if key in ATTRIBUTES)
    return f"<{found['name']}{kept}{slash}>"


_RAW = re.compile(rf"<({'|'.join(sorted(RAW))})(?=[\s/>])[^<>]*+>", re.IGNORECASE)
_END = {name: re.compile(rf"</{name}[\s/]*+>", re.IGNORECASE) for name in RAW}
