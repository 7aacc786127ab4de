"""Every sentence of the page, one file a tab."""
