"""Published tile encoders: the recipes that build them, and the names that their files give to tensors."""
