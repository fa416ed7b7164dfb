"""The command `key`: creates, lists, rotates and revokes keys. Knows no key after it has printed it."""
