"""From a prompt to a reply: parameters, the engine seam, and the engines."""
