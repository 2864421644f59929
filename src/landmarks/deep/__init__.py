"""Transfer learning: backbones, heads, training, export, occlusion maps."""
