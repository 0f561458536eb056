"""Runs one server for a test session, and ends it when the session is gone.

The session holds the other end of this program's standard input. However the session ends, by return or by
`kill -9`, the pipe closes; the server is then stopped at once and its folder removed. (Linux's parent-death
signal would not do: it fires when the *thread* that started the server ends.)

Standard library only, run as a script: `watchdog.py UID:GID FOLDER COMMAND...`.
"""

import os
import select
import shutil
import signal
import subprocess
import sys


def main() -> int:
    account, folder, *command = sys.argv[1:]
    uid, gid = (int(part) for part in account.split(":"))
    root = os.geteuid() == 0
    server_gone, server_holds = os.pipe()  # the server alone keeps the second end open
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        pass_fds=[server_holds],
        user=uid if root else None,
        group=gid if root else None,
        extra_groups=[] if root else None,
    )
    os.close(server_holds)
    while True:
        readable, _, _ = select.select([0, server_gone], [], [])
        if server_gone in readable:
            return server.wait()
        if not os.read(0, 1):
            server.send_signal(signal.SIGQUIT)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
            shutil.rmtree(folder, ignore_errors=True)
            return server.wait()


if __name__ == "__main__":
    sys.exit(main())
