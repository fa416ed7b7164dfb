"""Ways to call the relay: OpenAI's SDK with signed requests, a signing proxy, a check of a deployment."""
