"""The benchmark: the relay beside its peers, on the same fakes. Never imports relay."""
