"""The strip above all tabs: which model answers."""
