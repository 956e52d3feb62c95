"""Labels, splits and manifests as tables, and the scripts that rebuild the derived ones."""
