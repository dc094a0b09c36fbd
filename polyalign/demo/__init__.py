"""Generated stand-ins of the corpora, in the official raw layouts, from small phrase grammars."""
