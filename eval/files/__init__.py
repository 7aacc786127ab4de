"""Data files read strictly: what would change or break later is refused, with line and reason."""
