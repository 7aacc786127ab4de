"""Data to learn from: read, recognised, mapped to examples, checked. Knows no model."""
