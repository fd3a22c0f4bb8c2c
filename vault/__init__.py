"""Secrets: how they are encrypted, where they come from, and how they are kept out of everything that is written down.

``keys`` encrypts and decrypts, ``values`` finds the value of a name in the environment, in files or in the database,
``redaction`` replaces values by asterisks. Beside them ``variables``, whose values are for all to read; ``reading`` is how
long either are kept.
"""
