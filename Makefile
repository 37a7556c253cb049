# Postern: build, run and test. Everything needs Go; the tests against real
# Postfix also need root and Debian's apt (they skip themselves, by name, where
# these are missing).

GO       ?= go
DESTDIR  ?=
BIN       = bin
export CGO_ENABLED = 0

# Names by which the one binary is called.
DAEMONS   = anvil bounce cleanup discard error flush lmtp local master pickup pipe postlogd \
            proxymap qmgr showq smtp smtpd spawn trivial-rewrite virtual
COMMANDS  = postalias postcat postconf postfix postkick postlock postlog postmap postsuper sendmail

.PHONY: build
build:
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/ ./cmd/...

# install-private puts Postern below DESTDIR/postern, beside whatever else is
# there: the tests run it in one root with the real Postfix.
.PHONY: install-private
install-private: build
	@mkdir -p $(DESTDIR)/postern/sbin $(DESTDIR)/postern/libexec $(DESTDIR)/postern/bin
	@for name in postern postdrop postqueue; do \
		cp $(BIN)/$$name $(DESTDIR)/postern/sbin/$$name.new && \
		mv $(DESTDIR)/postern/sbin/$$name.new $(DESTDIR)/postern/sbin/$$name; done
	@for name in $(DAEMONS); do ln -sf ../sbin/postern $(DESTDIR)/postern/libexec/$$name; done
	@for name in $(COMMANDS); do ln -sf postern $(DESTDIR)/postern/sbin/$$name; done
	@for name in mailq newaliases; do ln -sf ../sbin/postern $(DESTDIR)/postern/bin/$$name; done
	@chown 0:2101 $(DESTDIR)/postern/sbin/postdrop $(DESTDIR)/postern/sbin/postqueue
	@chmod 2755 $(DESTDIR)/postern/sbin/postdrop $(DESTDIR)/postern/sbin/postqueue

# bench measures Postern beside the real Postfix, in turn, and prints medians
# and ratios. BENCH takes its options: BENCH='-only relay -rounds 1'.
.PHONY: bench
bench:
	$(GO) test ./test/bench -tags bench -count=1 -timeout 120m -v $(BENCH) | grep -v -e '^=== ' -e '^ *--- '
