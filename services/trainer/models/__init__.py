"""Models on disk: base models, whole ones, merged ones, and what an engine must reproduce."""
