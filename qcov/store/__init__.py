"""The database and the blobs in which dispatches live."""
