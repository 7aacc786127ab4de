"""A secret in a file: it stands in no argument, no log and no answer."""

from pathlib import Path

from llm_app.errors import UserError

MAX_KEY_BYTES = 4096


def read_key_file(path: str, *, param: str) -> str:
    """The first line of the key file.

    Raises: UserError if there is none; the message never holds the key.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            key = file.readline(MAX_KEY_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__
        raise UserError(f"The API key file {path} cannot be read ({reason}).", param=param) from None
    if not key:
        raise UserError(f"The API key file {path} is empty. Write the key into its first line.", param=param)
    return key
