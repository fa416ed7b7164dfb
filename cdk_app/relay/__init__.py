"""The relay's stack and its constructs: function, URL, key, table of limits.

Knows nothing of edge or monitoring."""
