"""The phases of a function's life, as the Runtime API counts them. Knows not what leads from one to the next."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """Where the function is in its life. Names as the Runtime Interface Emulator's state machine has them."""

    INIT = "RuntimeStarted"
    READY = "RuntimeReady"  # waits in /next
    RUNNING = "RuntimeRunning"
    RESPONDING = "RuntimeInvocationResponse"
    RESPONDED = "RuntimeResponseSent"
    FAILED = "RuntimeInitError"
    CLOSED = "RuntimeClosed"
