"""How every result was made: what each job read, wrote, and was told, and whether that still holds."""
