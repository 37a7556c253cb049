# Postern: build, run and test. Everything needs Go; the tests against real
# Postfix also need root and Debian's apt (they skip themselves, by name, where
# these are missing).

GO       ?= go
DESTDIR  ?=
BIN       = bin
export CGO_ENABLED = 0

# Names by which the one binary is called.
DAEMONS   = anvil bounce cleanup discard error flush lmtp local master nbdb_reindexd pickup pipe postlogd \
            proxymap qmgr showq smtp smtpd tlsmgr trivial-rewrite verify virtual
COMMANDS  = postalias postcat postconf postfix postkick postlock postlog postmap postmulti postsuper qshape sendmail

.PHONY: build
build:
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/ ./cmd/...

# run tries Postern out as an ordinary user, on ports 2525 and 2587.
.PHONY: run
run: build
	$(GO) build -o $(BIN)/smtp-source ./test/load/source
	@sh conf/run.sh

# check is what needs no test to run.
.PHONY: check
check:
	@test -z "$$(gofmt -l cmd internal test)" || { echo "not formatted:"; gofmt -l cmd internal test; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags bench ./test/bench ./test/bench-tables

.PHONY: test
test: build
	$(GO) test -count=1 -timeout 14m ./...

# oracle plays the archives of test/oracle against the real Postfix, too.
.PHONY: oracle
oracle:
	$(GO) test -count=1 -timeout 30m ./test/oracle -oracle

# crash is the long form of the crash tests.
.PHONY: crash
crash:
	$(GO) test -count=1 -timeout 60m -v ./test/crash -long

# bench measures Postern beside the real Postfix, in turn, and prints medians
# and ratios. BENCH takes its options: BENCH='-args -only relay -rounds 1'.
.PHONY: bench
bench:
	$(GO) test ./test/bench -tags bench -count=1 -timeout 120m -v $(BENCH) | grep --line-buffered -v -e '^=== ' -e '^ *--- '

# bench-tables measures lookup tables beside the real Postfix's postmap.
# BENCH as above: BENCH='-args -rounds 1'.
.PHONY: bench-tables
bench-tables:
	$(GO) test ./test/bench-tables -tags bench -count=1 -timeout 30m -v $(BENCH) | grep -v -e '^=== ' -e '^ *--- '

# fuzz runs every fuzz target for FUZZTIME. An input is made smaller in a few
# steps only: what is new may otherwise take all of the time.
FUZZTIME ?= 10s
.PHONY: fuzz
fuzz:
	@grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			$(GO) test ./$$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x || exit 1; \
		done; done

# install puts Postern in the place of Postfix, where Debian's package has its
# programs. Configuration that is there is left alone.
SBINDIR   = $(DESTDIR)/usr/sbin
LIBEXEC   = $(DESTDIR)/usr/lib/postfix/sbin
CONFDIR   = $(DESTDIR)/etc/postfix
MANDIR    = $(DESTDIR)/usr/share/man
.PHONY: install
install: build
	install -d $(SBINDIR) $(LIBEXEC) $(CONFDIR) $(DESTDIR)/usr/bin $(DESTDIR)/usr/lib $(DESTDIR)/var/spool/postfix $(DESTDIR)/var/lib/postfix
	install -m 755 $(BIN)/postern $(SBINDIR)/postern
	for name in $(DAEMONS); do ln -sfn ../../../sbin/postern $(LIBEXEC)/$$name; done
	for name in $(COMMANDS); do ln -sfn postern $(SBINDIR)/$$name; done
	for name in mailq newaliases; do ln -sfn ../sbin/postern $(DESTDIR)/usr/bin/$$name; done
	ln -sfn ../sbin/sendmail $(DESTDIR)/usr/lib/sendmail
	install -m 755 $(BIN)/postdrop $(BIN)/postqueue $(SBINDIR)/
	for page in $$($(BIN)/postern help --pages); do \
		dir=$(MANDIR)/man$${page##*.}; install -d $$dir && $(BIN)/postern help --roff $$page >$$dir/$$page || exit 1; done
	for name in main.cf master.cf; do install -m 644 conf/$$name $(CONFDIR)/$$name.proto; done
	for name in main.cf master.cf; do test -e $(CONFDIR)/$$name || install -m 644 conf/$$name $(CONFDIR)/$$name; done
	test -e $(DESTDIR)/etc/aliases || install -m 644 conf/aliases $(DESTDIR)/etc/aliases
	@# Set-gid only with a group that exists: a missing one would become root's.
	@if getent group postdrop >/dev/null; then \
		chgrp postdrop $(SBINDIR)/postdrop $(SBINDIR)/postqueue && chmod 2755 $(SBINDIR)/postdrop $(SBINDIR)/postqueue; \
	else echo "make install: no group postdrop: add the user postfix and the group postdrop, then run \"postfix set-permissions\""; fi

# install-private puts Postern below DESTDIR/postern, beside whatever else is
# there: the tests run it in one root with the real Postfix.
.PHONY: install-private
install-private: build
	@mkdir -p $(DESTDIR)/postern/sbin $(DESTDIR)/postern/libexec $(DESTDIR)/postern/bin
	@# Each program is whole, with its mode, when it takes the place of the one that tests are running.
	@for name in postern postdrop postqueue; do \
		file=$(DESTDIR)/postern/sbin/$$name; mode=755; group=0; \
		case $$name in postdrop|postqueue) mode=2755 group=2101;; esac; \
		cmp -s $(BIN)/$$name $$file || { cp $(BIN)/$$name $$file.$$$$ && chown 0:$$group $$file.$$$$ && \
		chmod $$mode $$file.$$$$ && mv $$file.$$$$ $$file; } || exit 1; done
	@link() { test "$$(readlink $$2)" = $$1 || ln -sf $$1 $$2; }; \
	for name in $(DAEMONS); do link ../sbin/postern $(DESTDIR)/postern/libexec/$$name; done; \
	for name in $(COMMANDS); do link postern $(DESTDIR)/postern/sbin/$$name; done; \
	for name in mailq newaliases; do link ../sbin/postern $(DESTDIR)/postern/bin/$$name; done
