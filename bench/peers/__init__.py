"""The relay's competitors: the same event in, the same bytes out."""
