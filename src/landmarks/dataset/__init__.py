"""Tables of photos: the catalogue, its schema, which photos are drawn, and how they are split."""
