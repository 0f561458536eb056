"""Where a server listens: the options that say so, for a server alone and for one beside its workers."""

from __future__ import annotations

from typing import Annotated

import typer

Host = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="Where to listen. Default: loopback.", show_default=False),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="N", min=0, max=65535, help="0: a free one. Default: 8233.", show_default=False
    ),
]
RequireKey = Annotated[
    bool, typer.Option("--require-key", help="Let in nobody without an API key, also on loopback.")
]
