"""The critic: a small network that scores how far an answer lies from human answers of its bucket."""
