"""SageMaker's and Bedrock's runtimes at the far end of the wire, as far as moto has none."""

import base64
import binascii
import json
import struct
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def a_runtime(stream):
    """Serve what answers, as far as moto does not: streams, and an error of the model.

    Args:
        stream: What is streamed: at SageMaker cut anywhere, at Bedrock an event for each line.

    Yields:
        The address, and the list of the bodies that came.
    """
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            streams = {"content-type": "application/vnd.amazon.eventstream"}
            if self.path.endswith("/invocations-response-stream"):
                half = len(stream) // 2  # AWS cuts where it likes.
                data = event("PayloadPart", stream[:half]) + event("PayloadPart", stream[half:])
                self.answer(200, data, streams)
            elif self.path.endswith("/invoke-with-response-stream"):
                chunks = [base64.b64encode(line).decode() for line in stream.splitlines()]
                carried = (json.dumps({"bytes": chunk}).encode() for chunk in chunks)
                self.answer(200, b"".join(event("chunk", one) for one in carried), streams)
            else:
                said = json.dumps({"error": {"message": "The prompt is too long."}})
                error = {"OriginalStatusCode": 400, "OriginalMessage": said, "Message": "no"}
                self.answer(424, json.dumps(error).encode(), {"x-amzn-errortype": "ModelError"})

        def answer(self, status, data, headers):
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


def event(kind, payload):
    """Return one event of AWS's binary stream that carries a part of an answer."""
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in (
            (b":message-type", b"event"),
            (b":event-type", kind.encode()),
            (b":content-type", b"application/octet-stream"),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    data = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
    return data + struct.pack(">I", binascii.crc32(data))
