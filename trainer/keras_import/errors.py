"""The one error inside this package."""


class RefusedError(Exception):
    """Why a file cannot be imported; `import_keras` adds the file's name."""
