"""Files that are brought to electrons before they run, and away after them."""
