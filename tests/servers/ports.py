"""Free ports."""

import random
import socket


def free_port() -> int:
    """A loopback TCP port that nobody listens on right now.

    It lies below the range from which outgoing connections draw theirs, so that a server which is stopped for a
    moment finds its port again.
    """
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
