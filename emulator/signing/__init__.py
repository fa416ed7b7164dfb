"""Who may call, and whether a request was signed by one of them: Signature Version 4. No I/O."""
