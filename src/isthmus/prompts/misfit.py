"""Why variables cannot be put into a template."""


class Misfit(ValueError):
    """They do not fit it."""


class Missing(Misfit):
    """One that it wants is not there; the text says which."""
