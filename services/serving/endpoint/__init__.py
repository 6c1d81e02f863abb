"""The OpenAI-compatible endpoint for applications."""
