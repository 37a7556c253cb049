"""A milter that asks for every kind of change that libmilter knows."""

import sys

import Milter


class EveryChange(Milter.Base):
    def connect(self, name, family, address):
        self.said = ["connect %s %s" % (name, address[0])]
        return Milter.CONTINUE

    def hello(self, name):
        self.said.append("helo " + name)
        return Milter.CONTINUE

    def envfrom(self, sender, *args):
        self.said.append("from " + " ".join((sender,) + args))
        self.headers = []
        self.size = 0
        return Milter.CONTINUE

    def envrcpt(self, rcpt, *args):
        if "refused" in rcpt:
            self.setreply("550", "5.7.1", "100%% refused", "in two lines")
            return Milter.REJECT
        return Milter.CONTINUE

    def header(self, name, value):
        self.headers.append(name)
        return Milter.CONTINUE

    def body(self, chunk):
        self.size += len(chunk)
        return Milter.CONTINUE

    def eom(self):
        if "X-Plain" in self.headers:
            return Milter.ACCEPT
        self.addheader("X-Said", ", ".join(self.said))
        self.addheader("X-Queue-Id", self.getsymval("i"))
        self.addheader("X-Seen", "%d fields, %d octets" % (len(self.headers), self.size))
        self.addheader("X-First", "first", 1)
        self.chgheader("Subject", 1, "changed")
        self.chgheader("X-Gone", 1, "")
        self.addrcpt("<carol@example.com>")
        self.addrcpt("<vmail@example.com>", "NOTIFY=NEVER")
        self.delrcpt("<bob@example.com>")
        self.chgfrom("<milter@example.com>")
        self.replacebody("a new body\r\n" + "of many lines\r\n" * 9000)
        self.progress()
        if "X-Hold" in self.headers:
            self.quarantine("a look at it")
        return Milter.CONTINUE


Milter.factory = EveryChange
Milter.set_flags(Milter.ADDHDRS | Milter.CHGBODY | Milter.CHGHDRS | Milter.ADDRCPT | Milter.DELRCPT | Milter.CHGFROM
                 | Milter.ADDRCPT_PAR | Milter.QUARANTINE)
Milter.runmilter("every-change", "inet:%s@127.0.0.1" % sys.argv[1], 20)
