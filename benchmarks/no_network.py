"""Run the tests, or any command, where no other machine can be reached, and list every attempt to reach one.

``python -m benchmarks.no_network [command ...]``, as root on Linux; by default the whole suite. The command runs in a
network namespace that has the loopback interface alone, and every Python process of it reports name look-ups, connections
and packets for other addresses (an audit hook, PEP 578).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = [sys.executable, "-m", "pytest", "-q", "-n", "2"]
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
# Python imports this module when it starts.
_HOOK = """
import os, sys

def _note(event, args):
    if event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        return
    place = args[1] if event in ("socket.connect", "socket.sendto") else args[0]
    host = place[0] if isinstance(place, tuple) else place
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host is None or not isinstance(host, str) or host.startswith(("127.", "/", "\\0")) or host in HERE:
        return
    frame, lines = sys._getframe(1), []
    while frame and len(lines) < 12:
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    with open(os.environ["CTBENCH_ATTEMPTS"], "a") as file:
        file.write(f"{event} {place} {' < '.join(lines)}\\n")

HERE = ("", "localhost", "::1", "0.0.0.0", "::")
sys.addaudithook(_note)
"""


def main(command: list[str]) -> int:
    """Run a command and print the attempts; return its exit code, or 1 if there was an attempt."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be made: run this as root on Linux")
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "sitecustomize.py").write_text(_HOOK, encoding="utf-8")
        attempts = folder / "attempts.txt"
        paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        code = subprocess.call(command, env=os.environ | {"PYTHONPATH": paths, "CTBENCH_ATTEMPTS": str(attempts)})
        made = attempts.read_text(encoding="utf-8").splitlines() if attempts.exists() else []
    print(*made, sep="\n")
    print(f"exit code {code}; {len(made)} attempts to reach another machine")
    return code or int(bool(made))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or SUITE))
