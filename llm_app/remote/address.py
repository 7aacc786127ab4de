"""Where a model on another server is: the server's address, the name it has there, and the key that opens it."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm_app.errors import UserError
from llm_app.key_file import read_key_file

SCHEMES = ("http://", "https://")
REMOTE = "remote"  # precision and device of a model whose weights are elsewhere
KEY, KEY_FILE = "PROOFBENCH_REMOTE_KEY", "PROOFBENCH_REMOTE_KEY_FILE"
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f\\]")


def is_address(name: str) -> bool:
    """Whether the name of a model is the address of a server."""
    return name.lower().startswith(SCHEMES)


@dataclass(frozen=True)
class Address:
    """A server and one of its models, written `http://host:port/v1#model`.

    `model` is empty where the server's only one is meant. What stands behind # is sent to no server as part of a URL.
    """

    url: str
    model: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises: UserError saying what is wrong with it; a password in it is not repeated."""
        url, _, model = text.strip().partition("#")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port  # reading the port checks it
        except ValueError:
            host = None
        if not host or not is_address(url) or _UNFIT.search(url):
            raise UserError("The address of a server looks like http://127.0.0.1:8000/v1#model.", param="model")
        if "@" in parts.netloc or parts.query:
            raise UserError(
                f"No user, password or query may stand in the address. A key goes into {KEY}.", param="model"
            )
        return cls(f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}", model)

    def __str__(self) -> str:
        return f"{self.url}#{self.model}" if self.model else self.url

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read along: it is encrypted, or it does not leave this machine."""
        return self.url.startswith("https://") or _is_this_machine(urlsplit(self.url).hostname or "")


def read_key(address: Address, environ: Mapping[str, str]) -> str | None:
    """The key for the server, from the environment or the file that it names; None where there is none.

    Raises: UserError if it cannot be read, or would travel where others can read it.
    """
    key = environ.get(KEY, "").strip()
    if not key and environ.get(KEY_FILE):
        key = read_key_file(environ[KEY_FILE], param=KEY_FILE)
    if not key:
        return None
    if not key.isascii() or not key.isprintable():
        raise UserError(f"The key in {KEY} or {KEY_FILE} holds characters that no key has.", param=KEY)
    if not address.is_private:
        raise UserError(
            f"The key would go to {address.url} unencrypted. Use https://, or unset {KEY} and {KEY_FILE}.",
            param="model",
        )
    return key


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
