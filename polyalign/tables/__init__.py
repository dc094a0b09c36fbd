"""Tables of methods from evaluation reports, and the pages that hold them."""
