"""Which proxy the machine names for a URL. Knows the environment's variables; httpx and aiohttp read them differently."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from clients.signing import is_loopback


def company_proxy(target: str) -> URL | None:
    """Return the proxy for `target` (HTTPS_PROXY, ALL_PROXY, NO_PROXY), None for none; ValueError for an unusable one."""
    parts = urlsplit(target)
    if is_loopback(target) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    text = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not text:
        return None
    with contextlib.suppress(ValueError):
        proxy = URL(text if "://" in text else f"http://{text}")
        if proxy.scheme in ("http", "https") and proxy.host:
            return proxy
    raise ValueError(f"the proxy for {target} is {text!r}; allowed in HTTPS_PROXY: a URL such as http://proxy:3128")
