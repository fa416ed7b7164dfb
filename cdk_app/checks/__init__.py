"""Checks finished templates and compares them between revisions. Knows no constructs."""
