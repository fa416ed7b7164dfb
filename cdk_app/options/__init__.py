"""Values of an environment that are large enough to stand by themselves, and what single fields allow. Knows no CDK."""
