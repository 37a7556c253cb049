package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"github.com/xdg-go/scram"
)

// mechanism is the name of the mechanism that a secret is for.
func (s scramSecret) mechanism() string {
	if len(s.StoredKey) == sha256.Size {
		return schemeSCRAM256
	}
	return schemeSCRAM1
}

// scramDialogue is SCRAM: a first message, and a proof.
type scramDialogue struct {
	conv  *scram.ServerConversation
	user  string
	name  string
	trap  error // why the lookup failed for a while
	known bool  // there is such a user
	last  bool  // the server's signature was sent
}

// lookupSCRAM finds what SCRAM needs of a user; ok is false for somebody who
// has nothing of the kind.
type lookupSCRAM func(ctx context.Context, user string) (name string, s scram.StoredCredentials, ok bool, err error)

// startSCRAM begins a dialogue. The credentials of a user without any are made
// up, and nobody has the password to them.
func startSCRAM(ctx context.Context, hash scram.HashGeneratorFcn, find lookupSCRAM, initial string, hasInitial bool) (Dialogue, Result, error) {
	d := &scramDialogue{}
	server, err := hash.NewServer(func(user string) (scram.StoredCredentials, error) {
		d.user = user
		var c scram.StoredCredentials
		d.name, c, d.known, d.trap = find(ctx, user)
		return c, d.trap
	})
	if err != nil {
		return nil, Result{}, err
	}
	d.conv = server.NewConversation()
	if !hasInitial {
		return d, Result{Outcome: Continue}, nil
	}
	res, err := d.Next(ctx, initial)
	return d, res, err
}

// Next takes one message of the client.
func (d *scramDialogue) Next(_ context.Context, answer string) (Result, error) {
	if d.last { // the client's answer to the signature, empty
		if answer != "" {
			return failed("malformed SCRAM message"), nil
		}
		return Result{Outcome: Success, User: d.name}, nil
	}
	text, err := base64.StdEncoding.DecodeString(answer)
	if err != nil {
		return failed("malformed base64"), nil
	}
	out, err := d.conv.Step(string(text))
	switch {
	case d.trap != nil:
		return loginResult("", d.user, false, d.trap)
	case err != nil && d.user == "":
		return failed("malformed SCRAM message"), nil
	case err != nil:
		return loginResult("", d.user, false, nil)
	case d.conv.Done() && !(d.conv.Valid() && d.known):
		return loginResult("", d.user, false, nil)
	case d.conv.Done() && d.conv.AuthzID() != "" && d.conv.AuthzID() != d.user && d.conv.AuthzID() != d.name:
		return failed("not authorized to act as another user"), nil
	}
	d.last = d.conv.Done()
	return Result{Outcome: Continue, Text: base64.StdEncoding.EncodeToString([]byte(out))}, nil
}

func (d *scramDialogue) Cancel() {}

// madeUp are credentials that nobody has, the same ones for a name as long as
// the process lives.
func madeUp(key []byte, hash scram.HashGeneratorFcn, user string, iterations int) scram.StoredCredentials {
	sum := func(what string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(what + "\x00" + user))
		return m.Sum(nil)
	}
	size := hash().Size()
	return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(sum("salt")[:16]), Iters: iterations},
		StoredKey: sum("stored")[:size], ServerKey: sum("server")[:size]}
}
