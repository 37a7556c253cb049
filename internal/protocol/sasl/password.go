package sasl

import (
	"context"
	"encoding/base64"
	"strings"
)

// reasonFailed is what a client is told, whatever is wrong: who does not know
// the password does not learn whether there is such a user.
const reasonFailed = "authentication failure"

// verify checks a user and a password. name is what the client is called from
// then on.
type verify func(ctx context.Context, p Peer, user, password string) (name string, ok bool, err error)

// loginResult turns a verdict into a result.
func loginResult(name, user string, ok bool, err error) (Result, error) {
	switch {
	case err != nil:
		return Result{Outcome: Temporary, Text: "authentication service is not available", User: printable(user)}, err
	case !ok:
		return Result{Outcome: Failure, Text: reasonFailed, User: printable(user)}, nil
	}
	return Result{Outcome: Success, User: name}, nil
}

// failed is the answer to a message that breaks the mechanism's rules.
func failed(why string) Result { return Result{Outcome: Failure, Text: why} }

// startPassword begins PLAIN or LOGIN.
func startPassword(ctx context.Context, mech string, p Peer, check verify, initial string, hasInitial bool) (Dialogue, Result, error) {
	if mech == "PLAIN" {
		d := &plain{p, check}
		if !hasInitial {
			return d, Result{Outcome: Continue}, nil
		}
		res, err := d.Next(ctx, initial)
		return d, res, err
	}
	d := &login{peer: p, check: check}
	if !hasInitial || initial == "" {
		return d, Result{Outcome: Continue, Text: challenge("Username:")}, nil
	}
	res, err := d.Next(ctx, initial)
	return d, res, err
}

func challenge(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// plain is the mechanism PLAIN: authzid NUL authcid NUL password.
type plain struct {
	peer  Peer
	check verify
}

func (d *plain) Next(ctx context.Context, answer string) (Result, error) {
	text, err := base64.StdEncoding.DecodeString(answer)
	if err != nil {
		return failed("malformed base64"), nil
	}
	f := strings.Split(string(text), "\x00")
	if len(f) != 3 || f[1] == "" || f[2] == "" {
		return failed("malformed PLAIN message"), nil
	}
	name, ok, err := d.check(ctx, d.peer, f[1], f[2])
	if ok && f[0] != "" && f[0] != f[1] && f[0] != name {
		return failed("not authorized to act as another user"), nil
	}
	return loginResult(name, f[1], ok, err)
}

func (d *plain) Cancel() {}

// login is the mechanism LOGIN: the server asks for a name and a password.
type login struct {
	peer  Peer
	check verify
	user  string
}

func (d *login) Next(ctx context.Context, answer string) (Result, error) {
	text, err := base64.StdEncoding.DecodeString(answer)
	if err != nil {
		return failed("malformed base64"), nil
	}
	if d.user == "" {
		if len(text) == 0 {
			return failed("malformed LOGIN message"), nil
		}
		d.user = string(text)
		return Result{Outcome: Continue, Text: challenge("Password:")}, nil
	}
	name, ok, err := d.check(ctx, d.peer, d.user, string(text))
	return loginResult(name, d.user, ok, err)
}

func (d *login) Cancel() {}
