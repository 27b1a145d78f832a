"""Tools that a model may call: their files, the check of a call, its command, the rounds of a conversation."""
