"""What all routes share: the app, the log, the gate, the feeds."""

from __future__ import annotations

from typing import Any

from headwater.app import Headwater
from headwater.app.domain import Scope
from headwater.log.log import Log
from headwater.runs.store import Runs
from headwater.server.access.gate import Gate
from headwater.server.access.keyring import Keyring
from headwater.server.feed import Feeds
from headwater.server.options import ServerOptions


class Server:
    """One server's parts. It is what a domain's routes are lent (see `Serving`)."""

    def __init__(self, app: Headwater, log: Log, options: ServerOptions) -> None:
        self.app, self.log, self.options = app, log, options
        self.runs = Runs(log)
        self.feeds = Feeds(log)
        self.keyring = Keyring(log)
        self.gate = Gate(self.keyring, options)

    def allow(self, scope: Scope) -> Any:
        return self.gate.allow(scope)
