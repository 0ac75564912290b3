"""From a file of conversations to token ids: formats, loading, the doctor, the split, rendering."""
