"""Standard Webhooks: signatures made with a shared secret over an id, a time and the body.

A message is good when one of its signatures was made with one of the tenant's secrets, at a time within five minutes of
ours. Several secrets are how they are rotated: the new one is added, the sender changes over, the old one goes. The id
is the key under which the payload counts once, however often the sender tries.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from headwater.errors import AccessRefused, SettingRefused

TOLERANCE: Final = 300
_PREFIX: Final = "whsec_"


def secret_of(text: str) -> bytes:
    """The bytes of a secret: `whsec_` and base64."""
    try:
        if text.startswith(_PREFIX) and len(secret := b64decode(text[len(_PREFIX) :], validate=True)) >= 24:
            return secret
    except binascii.Error:
        pass
    raise SettingRefused(
        "HEADWATER_WEBHOOK_SECRETS", f"{text[:9]}...", "TENANT=whsec_... with 24 to 64 bytes in base64"
    )


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: float) -> str:
    """The message's id, if it is signed well; else `AccessRefused`."""
    id, at, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not id or not at.isdecimal() or not signatures:
        raise AccessRefused(401, "Sign it: webhook-id, webhook-timestamp and webhook-signature are needed.")
    if abs(now - int(at)) > TOLERANCE:
        raise AccessRefused(401, "The signature's time is more than five minutes from this server's.")
    content = f"{id}.{at}.".encode() + body
    made = [b"v1," + b64encode(hmac.digest(secret, content, sha256)) for secret in secrets]
    for shown in signatures.encode("ascii", "replace").split():
        if any(hmac.compare_digest(shown, good) for good in made):
            return id
    raise AccessRefused(401, "No signature fits this message and a secret of the tenant.")
