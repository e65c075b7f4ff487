"""The command line's HTTP client: it knows the API's wire format and nothing of the server."""
