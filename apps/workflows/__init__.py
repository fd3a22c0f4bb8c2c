"""The HTTP API: keeps the definitions, admits executions by hand, shows what happened.

``app`` composes; a view in ``v1`` decodes, calls one handler (``admission``, ``definitions``) or the store, and encodes
(``representations``). Whatever is refused is raised as an exception and becomes an answer in ``problems``.
"""

from apps import lean as lean
