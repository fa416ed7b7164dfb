"""Ways to call the relay: OpenAI's SDK with signed requests, a signing proxy, a check of a deployment.

Knows nothing of the relay's code: only its URL, its HTTP surface and AWS's signatures.
"""

# The model that every example asks for. To change it, edit this line, then run
# `pytest tests/docs/test_example_model.py --accept-snapshots`, which writes it into the snippets of the documentation.
EXAMPLE_MODEL = "gpt-6-luna"
