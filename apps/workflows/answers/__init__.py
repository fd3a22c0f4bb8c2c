"""The shapes of what the API answers, for its documents; :mod:`apps.workflows.representations` makes them.

Not used to write answers: building models for a page of 500 would cost more than reading it. A test holds every
representation against its model, and schemathesis the running service.
"""
