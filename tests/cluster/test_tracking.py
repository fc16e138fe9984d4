"""Where metrics go: an address that nobody answers at is said at once."""

import http.server
import threading

import pytest

from cluster.tracking import check_server
from rollout.errors import SettingsError


def test_a_server_that_is_away_is_said_at_once_and_without_its_password() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    port = server.server_address[1]
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    check_server(f"http://127.0.0.1:{port}")
    thread.join()
    server.server_close()
    with pytest.raises(SettingsError, match=rf"nobody answers at 127\.0\.0\.1:{port} ") as caught:
        check_server(f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)


def test_a_file_needs_no_server() -> None:
    check_server("sqlite:///nowhere.db")
