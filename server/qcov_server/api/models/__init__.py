"""What the REST interface answers and takes; the OpenAPI document is made from these."""
