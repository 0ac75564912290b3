"""Blind comparisons by ear: pairs, votes, and what they show."""
