"""The checkpoint protocol as a small model, and every state that it can come to."""
