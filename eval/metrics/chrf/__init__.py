"""chrF and chrF++ of translations."""
