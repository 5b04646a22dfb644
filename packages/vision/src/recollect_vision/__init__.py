"""Image classification and few-shot learning with a memory of examples."""
