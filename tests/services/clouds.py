"""Google's and Azure's storage as far as transfers need them, spoken by small HTTP servers.

They list two objects a page, take uploads in one piece and in several, and refuse who has no right.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import google_crc32c

PAGE = 2


class Cloud(BaseHTTPRequestHandler):
    """Answers from `objects`; subclasses speak a provider's language."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]]
    pieces: ClassVar[dict[str, bytes]]
    seen: ClassVar[dict[str, str]]  #: the Authorization headers, by method and path

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {url.path}"
        self.seen[request] = self.headers.get("Authorization", "")
        self.answer_to(request)

    do_GET = do_HEAD = do_PUT = do_POST = handle_any  # noqa: N815

    def answer_to(self, request: str) -> None:
        raise NotImplementedError

    def page(self) -> tuple[list[str], str]:
        """The names on a page of a listing, and where the next one begins."""
        start = self.query.get("pageToken") or self.query.get("marker") or ""
        prefix = self.query.get("prefix", "")
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > start)
        return names[:PAGE], names[PAGE - 1] if len(names) > PAGE else ""

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), content_type="application/json", **headers)

    def log_message(self, *_: Any) -> None: ...


class Google(Cloud):
    """The JSON API, for the bucket `bkt`."""

    def answer_to(self, request: str) -> None:
        if request == "POST /token":
            return self.send_json({"access_token": "granted", "expires_in": 3600})
        if request == "POST /upload/storage/v1/b/bkt/o":
            return self.upload()
        if request == "PUT /resume":
            return self.resume(self.query["name"])
        if request == "GET /storage/v1/b/bkt/o":
            names, after = self.page()
            listed = {"items": [{"name": name, "bucket": "bkt"} for name in names]}
            return self.send_json(listed | ({"nextPageToken": after} if after else {}))
        found = re.fullmatch(r"GET /download/storage/v1/b/bkt/o/(.*)", request)
        data = self.objects.get(unquote(found[1])) if found else None
        if data is None:
            return self.send_json({"error": {"code": 404, "message": "No such object"}}, 404)
        return self.send(200, data)

    def upload(self) -> None:
        if self.query["uploadType"] == "resumable":
            name = json.loads(self.body)["name"]
            self.pieces[name] = b""
            host = self.headers["Host"]
            return self.send(200, location=f"http://{host}/resume?name={name}")
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip("'\"").encode()
        _, about, data, _ = self.body.split(b"--" + boundary)
        name = json.loads(about.partition(b"\r\n\r\n")[2])["name"]
        self.objects[name] = data.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        return self.send_json({"name": name, "bucket": "bkt"})

    def resume(self, name: str) -> None:
        self.pieces[name] += self.body
        received, whole = len(self.pieces[name]), self.headers["Content-Range"].rpartition("/")[2]
        if str(received) != whole:
            return self.send(308, range=f"bytes=0-{received - 1}")
        data = self.objects[name] = self.pieces.pop(name)
        sums = {"crc32c": b64encode(google_crc32c.Checksum(data).digest()).decode()}
        return self.send_json({"name": name, "bucket": "bkt", **sums})


class Azure(Cloud):
    """Block blobs, for the container `bkt` of the account `lab` and whoever has a signature."""

    _DATES: ClassVar[dict[str, str]] = {
        "Last_Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
        "ETag": '"0x1"',
        "x_ms_request_id": "1",
    }

    def answer_to(self, request: str) -> None:
        found = re.fullmatch(r"(GET|PUT) /lab/bkt/?(.*)", request)
        if self.query.get("sig") != "secret":
            return self.refuse(403, "AuthenticationFailed")
        if found is None:
            return self.refuse(404, "ContainerNotFound")
        name = unquote(found[2])
        if found[1] == "GET":
            return self.listing() if self.query.get("comp") == "list" else self.get(name)
        if self.query.get("comp") == "block":
            self.pieces[self.query["blockid"]] = self.body
        elif self.query.get("comp") == "blocklist":
            blocks = re.findall(r"<Latest>(.*?)</Latest>", self.body.decode())
            self.objects[name] = b"".join(map(self.pieces.pop, blocks))
        else:
            self.objects[name] = self.body
        return self.send(201, **self._DATES)

    def get(self, name: str) -> None:
        data = self.objects.get(name)
        if data is None:
            return self.refuse(404, "BlobNotFound")
        asked = self.headers["x-ms-range"]
        if asked is None:  # of what is empty, no part can be asked
            return self.send(200, data, x_ms_blob_type="BlockBlob", **self._DATES)
        begin, end = map(int, asked.removeprefix("bytes=").split("-"))
        if begin >= len(data):
            return self.refuse(416, "InvalidRange")
        part = data[begin : end + 1]
        there = f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"
        return self.send(206, part, Content_Range=there, x_ms_blob_type="BlockBlob", **self._DATES)

    def listing(self) -> None:
        names, after = self.page()
        blobs = "".join(f"<Blob><Name>{escape(name)}</Name>{_ABOUT}</Blob>" for name in names)
        prefix = f"<Prefix>{escape(self.query.get('prefix', ''))}</Prefix>"
        text = f"{prefix}<Blobs>{blobs}</Blobs><NextMarker>{escape(after)}</NextMarker>"
        xml = f"<EnumerationResults>{text}</EnumerationResults>"
        self.send(200, xml.encode(), content_type="application/xml")

    def refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self.send(status, text.encode(), content_type="application/xml", x_ms_error_code=code)


_ABOUT = "<Properties><BlobType>BlockBlob</BlobType></Properties>"


@contextmanager
def serving(kind: type[Cloud]) -> Iterator[tuple[str, type[Cloud]]]:
    """Its address, and what it holds."""
    own = type(kind.__name__, (kind,), {"objects": {}, "pieces": {}, "seen": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), own)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
