"""OpenAI played on this machine: aimock, and what it cannot make up, behind one door. Knows nothing of Lambda or AWS."""
