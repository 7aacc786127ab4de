"""Long work: run folders, and what each kind of run does."""
