"""What an HTTP request of a workflow consists of, one noun per module; :mod:`actions.http_request` puts it together."""
