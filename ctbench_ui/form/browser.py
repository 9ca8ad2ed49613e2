"""Which browser a session belongs to: each has a cookie, or its signed-in user, and settings of its own."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

import streamlit as st

from ctbench_ui.frame import sign_in

_COOKIE = "ctbench_browser"
_VALUE = re.compile(r"[A-Za-z0-9_-]{20,64}")
_YEAR_S = 365 * 24 * 3600
_FOLDER, _ONLY = ".forms", ".form.yaml"


def settings_file(outputs_root: Path) -> Path:
    """Return the file with the last settings of this browser; one for all where it has no cookie."""
    cookie = str(st.context.cookies.get(_COOKIE, ""))
    owner = sign_in.user() or (cookie if _VALUE.fullmatch(cookie) else "")
    if not owner:
        return outputs_root / _ONLY
    return outputs_root / _FOLDER / f"{hashlib.sha256(owner.encode()).hexdigest()[:24]}.yaml"


def new_cookie(present: str, is_secure: bool) -> str | None:
    """Return the ``Set-Cookie`` header for a browser; None where it has the cookie.

    Args:
        present: its ``Cookie`` header. is_secure: whether it came over TLS.
    """
    cookies = dict(part.strip().partition("=")[::2] for part in present.split(";"))
    if _VALUE.fullmatch(cookies.get(_COOKIE, "")):
        return None
    secure = "; Secure" if is_secure else ""
    return f"{_COOKIE}={secrets.token_urlsafe(24)}; Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Lax{secure}"
