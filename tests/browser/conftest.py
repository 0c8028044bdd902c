"""The fixtures of the stage."""

from tests.browser.window import window  # noqa: F401 - as above
from tests.system.fixtures import (  # noqa: F401 - pytest finds fixtures by name
    broker,
    cloud,
    ending,
    gateway,
    listener,
    make_broker,
    make_gateway,
    make_listener,
    shared_cloud,
)
