"""Human and model answers as vectors: distances, pictures, and a page to look around in."""
