"""Ask users to sign in where the server names an identity provider, and let in those on its list only.

The provider stands in ``[auth]`` of ``.streamlit/secrets.toml``, the list in CTBENCH_USERS (docs/security.md).
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from ctbench_ui.shared.text import as_text


def user() -> str:
    """Return the address of the user who is signed in; empty where nobody signs in."""
    return str(st.user.get("email") or "").lower() if _is_on() and st.user.is_logged_in else ""


def refuse() -> bool:
    """Draw the way in, or why there is none, and return True; return False for a user who may use the app."""
    if not _is_on():
        return False
    if not st.user.is_logged_in:
        st.title("ctbench", anchor=False)
        st.markdown("This server asks you to sign in.")
        st.button("Sign in", type="primary", icon=":material/login:", key="sign-in", on_click=st.login)
        return True
    if not _is_listed(user()) or st.user.get("email_verified") is False:
        st.error(
            f"{as_text(user() or 'This account')} may not use this server. Ask its administrator to add the address to "
            "CTBENCH_USERS, or sign in with another one.",
            icon=":material/block:",
        )
        st.button("Sign out", icon=":material/logout:", key="sign-out", on_click=st.logout)
        return True
    return False


def draw() -> None:
    """Draw who is signed in, with the way out, below the navigation."""
    if name := user():
        with st.sidebar:
            st.caption(f"Signed in as {as_text(name)}")
            st.button("Sign out", icon=":material/logout:", type="tertiary", key="sign-out", on_click=st.logout)


def _is_on() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def _is_listed(address: str) -> bool:
    """Whether CTBENCH_USERS holds an address, or its domain as ``*@hospital.example``."""
    patterns = os.environ.get("CTBENCH_USERS", "").lower().replace(",", " ").split()
    return address.count("@") == 1 and any(fnmatchcase(address, pattern) for pattern in patterns)
