"""The server's application, with the statistics for tests beside the real ones."""

from server.wsgi import Server

application = Server("tests.support.statistics")
