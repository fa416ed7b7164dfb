"""Reads a synthesised cloud assembly and makes what it describes runnable here."""
