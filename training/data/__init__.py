"""What members learn from: tiles, features, bags, and who learns and who judges."""
