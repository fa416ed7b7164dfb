"""The command `prices`: the list of the deployed function, and who uses the models on it that end. Changes nothing."""
