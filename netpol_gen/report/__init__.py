"""Showing results: text, Markdown, CSV, JSON. Functions from values to strings; nothing is decided here."""
