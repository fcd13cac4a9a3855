"""An SMTP server for tests: STARTTLS or TLS, authentication; each message is one line of JSON on standard output.

usage: smtp.py PORT CERT KEY starttls|tls|plain
"""
import json
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

port, certificate, key, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Handler:
    async def handle_DATA(self, server, session, envelope):
        text = envelope.content.decode()
        if "REFUSE" in text:
            return "554 5.7.1 not wanted"
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": text,
            "tls": session.ssl is not None or mode == "tls",
            "user": session.auth_data.login.decode() if session.auth_data else None,
        }), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"veriboot", b"open sesame")
    return AuthResult(success=good, auth_data=data if good else None, handled=False)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


class Server(Controller):
    def factory(self):
        options = {"authenticator": authenticate}
        if mode == "starttls":
            options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
        elif mode == "tls":
            options |= {"auth_require_tls": False, "auth_required": True}
        return SMTP(self.handler, **options)


server = Server(Handler(), hostname="127.0.0.1", port=port, ssl_context=context if mode == "tls" else None)
server.start()
print("ready", flush=True)
while True:
    time.sleep(60)
