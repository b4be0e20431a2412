"""HTML pages and tables, rendered from what the stages wrote."""
