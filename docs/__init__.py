"""Programs that keep the pages; the pages are beside them."""
