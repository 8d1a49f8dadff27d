"""What the steps of one run say beside their median: how far it can be trusted, and what was odd."""
