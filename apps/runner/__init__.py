"""The runner: consumes requests, runs one attempt of the actions each, and folds and projects the results.

An execution's way through this service: ``agents`` receive the request and hand it to ``intake``, which decides whether it
is certainly new, doubtful (claimed in MongoDB first) or not admitted yet; ``attempts`` runs the actions and publishes one
result each; the results come back through ``agents``, are folded into the ``tables`` and written to MongoDB by
``projection``.
"""

from apps import lean as lean
