"""One setting that Jupyter Server lacks: a kernel's small messages are sent at once.

A slider's new picture follows a "busy" message of a few bytes. By default TCP holds it back until the browser
has acknowledged those (Nagle's algorithm), and the browser waits up to 40 ms before it does. Configured in
`binder/jupyter_server_config.json`; `tests/browser` measures what it gains.
"""

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """The server's own connection from a kernel to a browser, with TCP_NODELAY."""

    def connect(self) -> Any:
        """Connect, and ask TCP not to wait."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
