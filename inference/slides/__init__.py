"""Which slides a call names, which outline belongs to each, and what they are called."""
