"""The kinds of actions: one module each, with a model of its fields and one async function that runs it.

To add a kind, write its module, add it to ``KINDS`` in :mod:`actions.registry`, and test it; nothing else changes. A kind
of your own that does not belong here is named by ``ACTION_PLUGINS``; see :mod:`actions.plugins`.
"""
