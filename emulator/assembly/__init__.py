"""Reads a synthesised cloud assembly and describes the function, secrets and edge that are to run here.

Knows nothing of constructs: only the files that `cdk synth` writes.
"""
