"""What web page, API and command line are handed: built once, in app.py or cli.py."""

from dataclasses import dataclass

from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host


@dataclass(frozen=True)
class Services:
    """The parts of a running application."""

    settings: Settings
    serve: ServeConfig
    host: Host
