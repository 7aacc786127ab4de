"""Cards and lists of long runs, for every tab that has some."""
