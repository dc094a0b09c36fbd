"""Feature sets of an answer: text features, language-model features and the tables that hold them."""
