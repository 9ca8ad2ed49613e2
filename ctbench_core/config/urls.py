"""Recognise URLs, and refuse those that hold a secret."""

from __future__ import annotations

import re
from typing import Any

from ctbench_core.errors import ConfigError

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a drive


def is_url(place: Any) -> bool:
    """Return whether a place is a URL, such as ``s3://bucket/features``, and no path."""
    return isinstance(place, str) and bool(_URL.match(place))


def refuse_secret(value: Any, name: str) -> None:
    """Refuse a URL, or a list with one, that has a user, password or query; ``name`` says where it is written.

    Raises:
        ConfigError: there is one; the message does not repeat it.
    """
    for url in value if isinstance(value, list) else [value]:
        if not is_url(url):
            continue
        scheme, _, rest = url.partition("://")
        has_user = "@" in rest.split("/")[0] and not scheme.startswith("abfs")  # abfs://container@account
        if has_user or "?" in rest or re.search(":.*@", rest):  # passwords may have slashes
            raise ConfigError(
                f"{name} is a {scheme}:// URL with a user, password or query, which would be stored with every run. "
                "Leave it out, and give access by the environment or the store's own config file."
            )
