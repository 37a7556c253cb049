package sasl

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// Native is the service that runs on accounts of our own
// (smtpd_sasl_type = postern).
type Native struct {
	accounts Accounts
	realm    string
	key      [32]byte      // of this process, for what is made up
	slots    chan struct{} // bounds the passwords that are checked at once
	wait     time.Duration // for a slot
}

// NewNative returns the service. realm, smtpd_sasl_local_domain, is appended
// to names without one; it may be "".
func NewNative(accounts Accounts, realm string, wait time.Duration) (*Native, error) {
	n := &Native{accounts: accounts, realm: realm, slots: make(chan struct{}, 2*runtime.NumCPU()), wait: wait}
	_, err := rand.Read(n.key[:])
	return n, err
}

// Mechanisms are PLAIN and LOGIN, and SCRAM where a user has a secret for it.
func (n *Native) Mechanisms(context.Context) ([]Mechanism, error) {
	list := []Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}}
	for _, name := range [...]string{schemeSCRAM256, schemeSCRAM1} {
		if n.accounts.SCRAM(name) {
			list = append(list, Mechanism{Name: name, MutualAuth: true})
		}
	}
	return list, nil
}

// Start begins a dialogue.
func (n *Native) Start(ctx context.Context, mech string, p Peer, initial string, hasInitial bool) (Dialogue, Result, error) {
	switch mech {
	case "PLAIN", "LOGIN":
		return startPassword(ctx, mech, p, n.check, initial, hasInitial)
	case schemeSCRAM256:
		return startSCRAM(ctx, scram.SHA256, n.scram(mech, scram.SHA256), initial, hasInitial)
	case schemeSCRAM1:
		return startSCRAM(ctx, scram.SHA1, n.scram(mech, scram.SHA1), initial, hasInitial)
	}
	return nil, failed("Invalid authentication mechanism"), nil
}

// Close does nothing.
func (n *Native) Close() error { return nil }

// qualified is a name with its realm.
func qualified(user, realm string) string {
	if realm == "" || strings.Contains(user, "@") {
		return user
	}
	return user + "@" + realm
}

var errBusy = errors.New("too many passwords are being checked at this moment")

// enter waits for a slot: what a password costs must not add up without bound.
func (n *Native) enter(ctx context.Context) error {
	t := time.NewTimer(n.wait)
	defer t.Stop()
	select {
	case n.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return errBusy
	}
}

// check takes the same time for a user who does not exist.
func (n *Native) check(ctx context.Context, _ Peer, user, password string) (string, bool, error) {
	if len(password) > maxPassword || len(user) > maxUserName {
		return "", false, nil
	}
	name := qualified(user, n.realm)
	secret, found, err := n.accounts.Secret(ctx, name)
	if err != nil {
		return "", false, err
	}
	if !found {
		if secret = n.accounts.Decoy(name); secret == nil {
			return "", false, nil
		}
	}
	if err := n.enter(ctx); err != nil {
		return "", false, err
	}
	defer func() { <-n.slots }()
	clean := prepared(password)
	ok := secret.Verify(clean)
	if !ok && clean != password {
		ok = secret.Verify(password) // made by a program that does not prepare
	}
	return name, ok && found, nil
}

// scram finds credentials for the mechanism.
func (n *Native) scram(mech string, hash scram.HashGeneratorFcn) lookupSCRAM {
	return func(ctx context.Context, user string) (string, scram.StoredCredentials, bool, error) {
		name := qualified(user, n.realm)
		secret, found, err := n.accounts.Secret(ctx, name)
		if err != nil {
			return name, scram.StoredCredentials{}, false, err
		}
		if s, ok := secret.(scramSecret); found && ok && s.mechanism() == mech {
			return name, s.StoredCredentials, true, nil
		}
		count := iterations
		if s, ok := n.accounts.Decoy(name).(scramSecret); ok {
			count = s.Iters
		}
		return name, madeUp(n.key[:], hash, name, count), false, nil
	}
}

// filter keeps the mechanisms that a list names, in its order.
func filter(list []Mechanism, names []string) []Mechanism {
	if len(names) == 0 {
		return list
	}
	var out []Mechanism
	for _, name := range names {
		if i := slices.IndexFunc(list, func(m Mechanism) bool { return strings.EqualFold(m.Name, name) }); i >= 0 {
			out = append(out, list[i])
		}
	}
	return out
}
