"""What is wrong with a template, in the words of whoever wrote it."""


class TemplateError(ValueError):
    """Base of the errors of templates; the message says what is wrong and how to mend it."""


class BadTemplate(TemplateError):
    """The template cannot be understood, whatever it is given."""


class RenderError(TemplateError):
    """The template cannot be rendered with what it was given."""
