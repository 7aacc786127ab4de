"""How the page looks: theme, style sheets, scripts."""
