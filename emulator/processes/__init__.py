"""Child processes, their log lines, and event loops in threads."""
