"""Credentials in text, masked by their form.

Guarantees
    Masked are: the user part of URLs; bearer, basic and other authorization values; values that are given to a name
    which speaks of secrets (`password=...`, `"client-key-data": "..."`, `X-Amz-Signature=...`); JSON web tokens; access
    keys of AWS and tokens of well-known services; private keys in PEM, and PEM in base64.
    The time is in proportion to the length, whatever the text: every pattern consumes what it has looked at.
Caveats
    Forms are known, not values: a secret printed bare, in no known form, passes. So what may hold one bare is not shown
    at all: of URLs in settings `shown_url`, of a document that does not parse `place_of_yaml_error`.
"""

from __future__ import annotations

import re

MASK = "***"

_SECRET = re.compile(
    r"passw|passphrase|secret|token|authorization|credential|(?:private|access|api|client|account)[-_]?key"
    r"|signature|cookie|\A(?:auth|_auth|pass|pwd|sig)\Z",
    re.IGNORECASE,
)
_NAMED = re.compile(r"""(?<![\w-])([\w-]++)\\*+["']?\s*+(=++|:)\s*+""")
_QUOTED = re.compile(r"""b?\\*+(["'])((?:(?!\1)[^\\\n]|\\(?!\1))*+)""")
_WORD = re.compile(r"""((?:(?:Bearer|Basic|Negotiate|Digest|Token)\s++)?[^\s"',;&}]++)""", re.IGNORECASE)
_LINE = re.compile(r"""([^"'\n]++)""")

_BEARER = re.compile(r"\b(Bearer|Basic|Negotiate)(\s++)[\w.~+/=-]{8,}+", re.IGNORECASE)
_USER_OF_URL = re.compile(r"""(?<=://)(?:[^\s/?#:"',@]*+@|[^\s/:]*+:[^\s/]*@)""")
_SLASHED_USER_OF_URL = re.compile(r"(?<=://)[^\s/:@]{0,128}+:(?!\d{1,5}(?:[/\s?#\"'.,;)]|\Z))[^\s@]{1,256}+@")
"""A password that holds a slash, which no URL may; a port is none."""

_OTHERS = re.compile(
    r"eyJ[\w.-]{8,}+"
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b"
    r"|(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|ya29\.|AIza)[\w.-]{16,}+"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?:[^-]|-(?!----))*+(?:-----END [A-Z ]{0,32}PRIVATE KEY-----)?"
    r"|LS0tLS1CRUdJTi[\w+/=]*+"
)


_HINTS_OF_NAMES = ("pass", "secret", "token", "auth", "credential", "key", "signature", "cookie", "sig", "pwd")
_HINTS_OF_SCHEMES = ("bearer", "basic", "negotiate")
_HINTS_OF_OTHERS = (
    *("eyJ", "AKIA", "ASIA", "gh", "glpat-", "xox", "ya29.", "AIza"),
    *("-----BEGIN ", "LS0tLS1CRUdJTi"),
)
"""What a text contains that a pattern matches, in lower case for those that ignore it: looking for all of these costs a
tenth of what the patterns cost, and most texts have none.
"""

_SCHEME = re.compile(r"[A-Za-z][\w+.-]{0,31}+://")
_QUERY = re.compile(r"[?#].*+", re.DOTALL)
_IN_QUOTES = re.compile(r"""(["']).*?\1""", re.DOTALL)
_PARSERS_OWN = re.compile(r"""["'](?:<[a-z ]+>|\\?.)["']""")


def redact(text: str) -> str:
    """`text` with what looks like a credential masked."""
    if "://" in text:
        text = _SLASHED_USER_OF_URL.sub(f"{MASK}@", _USER_OF_URL.sub(f"{MASK}@", text))
    folded = text.casefold()
    if ("=" in text or ":" in text) and any(hint in folded for hint in _HINTS_OF_NAMES):
        text = _without_named(text)
    if any(hint in text for hint in _HINTS_OF_OTHERS):
        text = _OTHERS.sub(MASK, text)
    if any(hint in folded for hint in _HINTS_OF_SCHEMES):
        text = _BEARER.sub(rf"\1\2{MASK}", text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a value of that name is to be masked whatever it looks like."""
    return _SECRET.search(name) is not None


def shown_url(url: str) -> str:
    """What a message may show of a URL that is meant to name a server, valid or not: scheme, host, port and path.

    User, query and fragment may be secrets. What stands before the last `@` is taken for a user wherever it stands:
    without a scheme (`me:password@proxy:3128`) a URL has none that parsers know.
    """
    found = _SCHEME.match(url)
    scheme = found[0] if found else ""
    return scheme + _QUERY.sub("", url[len(scheme) :].rpartition("@")[2])


def place_of_yaml_error(error: BaseException) -> str:
    """Where a document is not YAML, and what was expected; never its text, which PyYAML quotes in the error's."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return type(error).__name__
    problem = _IN_QUOTES.sub(_without_name, getattr(error, "problem", None) or "cannot be read")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _without_name(quoted: re.Match[str]) -> str:
    """A character or a token's kind stays; a tag or an alias may be a password that begins with `!` or `*`."""
    return quoted[0] if _PARSERS_OWN.fullmatch(quoted[0]) else MASK


def _without_named(text: str) -> str:
    """Mask values by the name before them: one pass over the text."""
    parts: list[str] = []
    done = 0
    for match in _NAMED.finditer(text):
        if match.end() < done or _SECRET.search(match[1]) is None:
            continue  # within a value that is masked, or harmless
        start, end = _value(text, match)
        if match[1].lower().endswith("s") and text[start:end].isdecimal():
            continue  # how many there are: `count/secrets=1`, `tokens: 3`
        parts += (text[done:start], MASK if end > max(start, done) else "")
        done = max(done, end)
    return "".join((*parts, text[done:])) if parts else text


def _value(text: str, named: re.Match[str]) -> tuple[int, int]:
    """Where the value that follows a name begins and ends: within its quotes, or a word; that of a header is a line."""
    found = _QUOTED.match(text, named.end())
    if found is not None:
        return found.span(2)
    is_header = named[2] == ":" and named[1].lower().endswith(("authorization", "cookie"))
    found = _LINE.match(text, named.end()) if is_header else _WORD.match(text, named.end())
    return found.span(1) if found is not None else (named.end(), named.end())
