package sasl

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"postern/internal/table"
)

// Accounts know the secrets of users.
type Accounts interface {
	// Secret returns the secret of a user. An error is temporary.
	Secret(ctx context.Context, user string) (Secret, bool, error)
	// Decoy returns a secret to look at instead, for a user who has none, so
	// that it takes the same time; nil when there is nothing to learn.
	Decoy(user string) Secret
	// SCRAM says whether some user has a secret for the mechanism.
	SCRAM(mechanism string) bool
}

// Limits of a file of users.
const (
	maxUsers     = 200_000
	maxUserLine  = 4096
	maxUserName  = 256
	fileInterval = time.Second // between two looks at the file
)

// ValidUser says whether a user may be called so in a file of users.
func ValidUser(name string) error {
	switch {
	case name == "" || len(name) > maxUserName:
		return fmt.Errorf("a user name has 1 to %d octets", maxUserName)
	case strings.ContainsAny(name, ": \t") || printable(name) != name:
		return fmt.Errorf("user name %.100q: colons, blanks and control characters are not possible", name)
	case name[0] == '#':
		return fmt.Errorf("user name %.100q: the first character would make it a comment", name)
	}
	return nil
}

// ReadUsers reads lines "user:{SCHEME}secret"; what follows another colon is
// left alone, so that a passwd-file of Dovecot's is understood. Lines that
// begin with "#" are comments. each is called for every line, user "" standing
// for one without a user; err says what is wrong with a line's user, and what
// each returns ends the reading.
func ReadUsers(r io.Reader, each func(line int, user, secret, text string, err error) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, maxUserLine), maxUserLine)
	n := 0
	for sc.Scan() {
		n++
		text := sc.Text()
		user, rest, _ := strings.Cut(text, ":")
		secret, _, _ := strings.Cut(rest, ":")
		var bad error
		if t := strings.TrimSpace(text); t == "" || t[0] == '#' {
			user, secret = "", ""
		} else if bad = ValidUser(user); bad != nil {
			user, secret = "", ""
		}
		if err := each(n, user, secret, text, bad); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if n > maxUsers {
			return fmt.Errorf("line %d: too many users: use an indexed table", n)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// A UserFile is a file of users, read again when it has changed.
type UserFile struct {
	path string
	say  UserFileLog
	key  [32]byte // of this process: chooses decoys

	mu      sync.Mutex
	checked time.Time
	stamp   fileStamp
	users   map[string]Secret
	sample  []Secret // of the file, for decoys
	scram   map[string]bool
	failed  bool  // the last look at the file failed; said once
	missing error // why there are no users yet
}

// A UserFileLog is told what is wrong with a file.
type UserFileLog struct {
	Warn func(format string, args ...any)
	// Lost is called when the file cannot be read again: perhaps this process
	// has given up the right to. May be nil.
	Lost func(path string)
}

type fileStamp struct {
	size     int64
	modified time.Time
	inode    uint64
}

// OpenUserFile reads the file. A line that cannot be used is said with its
// number, and makes the logins of its user fail for the time being; a file that cannot be read makes every
// lookup fail for the time being.
func OpenUserFile(path string, say UserFileLog) (*UserFile, error) {
	f := &UserFile{path: path, say: say}
	if _, err := rand.Read(f.key[:]); err != nil {
		return nil, err
	}
	if f.missing = f.load(); f.missing != nil {
		say.Warn("users cannot be read: %v", f.missing)
	}
	f.checked = time.Now()
	return f, nil
}

func (f *UserFile) load() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	users, scram := map[string]Secret{}, map[string]bool{}
	var sample []Secret
	err = ReadUsers(file, func(line int, user, text, _ string, bad error) error {
		if bad != nil {
			f.say.Warn("%s, line %d: %v", f.path, line, bad)
		}
		if user == "" {
			return nil
		}
		secret, err := ParseSecret(text)
		if err != nil {
			f.say.Warn("%s, line %d: user %s: %v", f.path, line, user, err)
			users[user] = unusable{fmt.Errorf("%s, line %d: user %s: %w", f.path, line, user, err)}
			return nil
		}
		if s, ok := secret.(scramSecret); ok {
			scram[s.mechanism()] = true
		}
		users[user] = secret
		sample = append(sample, secret)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s, %w", f.path, err)
	}
	f.users, f.scram, f.sample, f.stamp = users, scram, sample, stampOf(info)
	return nil
}

// refresh reads the file again if it has changed; what cannot be read leaves
// the users as they were. The lock is held.
func (f *UserFile) refresh() {
	if time.Since(f.checked) < fileInterval {
		return
	}
	f.checked = time.Now()
	info, err := os.Stat(f.path)
	if err == nil && stampOf(info) == f.stamp {
		return
	}
	if err == nil {
		err = f.load()
	}
	if err != nil && !f.failed {
		f.say.Warn("users are those read before: %v", err)
		if f.say.Lost != nil && f.missing == nil {
			f.say.Lost(f.path)
		}
	}
	if err == nil {
		f.missing = nil
	}
	f.failed = err != nil
}

// Secret returns the secret of a user.
func (f *UserFile) Secret(_ context.Context, user string) (Secret, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	s, ok := f.users[user]
	if u, bad := s.(unusable); bad {
		return nil, false, u.why
	}
	return s, ok, f.missing
}

// An unusable secret is the administrator's mistake: who has it is told to come
// again, not that the password is wrong.
type unusable struct{ why error }

func (unusable) Verify(string) bool { return false }

// Decoy returns the secret of somebody else, always the same for a name.
func (f *UserFile) Decoy(user string) Secret {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sample) == 0 {
		return nil
	}
	return f.sample[choose(f.key[:], user)%uint64(len(f.sample))]
}

func choose(key []byte, name string) uint64 {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(name))
	return binary.BigEndian.Uint64(m.Sum(nil))
}

// SCRAM says whether the file has a secret for the mechanism.
func (f *UserFile) SCRAM(mechanism string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.scram[mechanism]
}

// A UserTable is users in a lookup table: the value is "{SCHEME}secret".
type UserTable struct {
	Name  string
	Table table.Table
	decoy Secret
	once  sync.Once
}

// Secret returns the secret of a user.
func (t *UserTable) Secret(ctx context.Context, user string) (Secret, bool, error) {
	value, found, err := t.Table.Lookup(ctx, user)
	if err != nil || !found {
		return nil, false, err
	}
	value, _, _ = strings.Cut(value, ":")
	s, err := ParseSecret(strings.TrimSpace(value))
	if err != nil {
		return nil, false, fmt.Errorf("%s: user %s: %w", t.Name, printable(user), err)
	}
	return s, true, nil
}

// Decoy returns a secret of the default scheme: what the others are is not
// known.
func (t *UserTable) Decoy(string) Secret {
	t.once.Do(func() {
		if text, err := NewSecret(Schemes()[0], "nobody"); err == nil {
			t.decoy, _ = ParseSecret(text)
		}
	})
	return t.decoy
}

// SCRAM is true: a table does not tell.
func (t *UserTable) SCRAM(mechanism string) bool { return mechanism == schemeSCRAM256 }
