"""How a server is to be: where it listens, whom it lets in, how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from headwater.settings import Settings

_DEFAULTS: Final = Settings()
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The defaults are meant for a laptop: loopback, and no key.

    `require_key` is what makes other hosts and other names possible. `allowed_hosts` are names by which the server is
    called, beside those of loopback; empty with a key required: any. `webhook_secrets` are of pairs of tenant and
    Standard Webhooks secret; several of one tenant are all good, so that they can be rotated.
    """

    host: str = _DEFAULTS.server_host
    port: int = _DEFAULTS.server_port
    require_key: bool = _DEFAULTS.server_require_key
    allowed_hosts: tuple[str, ...] = _DEFAULTS.server_allow_hosts
    max_body: int = _DEFAULTS.server_max_body
    body_patience: float = 20.0
    head_patience: float = 10.0
    max_head: int = 64 * 1024
    connections: int = 10_000
    rate: float = _DEFAULTS.server_rate
    grace: float = 5.0
    metrics_url: str = _DEFAULTS.worker_metrics_url
    webhook_secrets: tuple[tuple[str, str], ...] = ()
    heartbeat: float = 15.0

    @property
    def on_loopback(self) -> bool:
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
