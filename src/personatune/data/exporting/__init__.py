"""a persona's conversations, or its character, as other programs read them, and what they cannot hold."""
