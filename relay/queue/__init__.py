"""Keeping accepted mail until every recipient has an end."""
