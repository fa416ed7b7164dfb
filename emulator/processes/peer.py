"""Which process is at the other end of a loopback connection. Linux only, read from /proc."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_ESTABLISHED = "01"  # include/net/tcp_states.h


def belongs_to_session(connection: socket.socket, session: int) -> bool:
    """Whether the peer of an IPv4 loopback `connection` is a process of `session`, which its leader's pid names.

    True where nothing can be known, on other systems than Linux.
    """
    if not sys.platform.startswith("linux"):
        return True
    inode = _peer_inode(connection)
    return inode != "0" and any(_holds(pid, f"socket:[{inode}]") for pid in _members(session))


def _peer_inode(connection: socket.socket) -> str:
    """The inode of the peer's socket; "0" when it is not of this machine or gone."""
    local, remote = _hexadecimal(connection.getpeername()), _hexadecimal(connection.getsockname())
    for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:4] == [local, remote, _ESTABLISHED]:
            return fields[9]
    return "0"


def _hexadecimal(address: tuple[str, int]) -> str:
    """As /proc/net/tcp writes an address: the number in the machine's byte order, the port as a number."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"


def _members(session: int) -> Iterator[int]:
    """The leader first, then whatever else is in the session."""
    yield session
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != session and _session_of(int(folder.name)) == session:
            yield int(folder.name)


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _holds(pid: int, target: str) -> bool:
    folder = _PROC / str(pid) / "fd"
    try:
        return any(_link(folder / number) == target for number in os.listdir(folder))
    except OSError:
        return False


def _link(path: Path) -> str:
    """Where a descriptor points; empty when it was closed meanwhile."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
