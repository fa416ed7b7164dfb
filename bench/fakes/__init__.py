"""What stands around a competitor while it is measured: OpenAI, the Runtime API, AWS. Each in its own process."""
