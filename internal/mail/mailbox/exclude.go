package mailbox

import "os"

// Exclude locks the mbox file at path, which it opens with the rights of this
// process and makes if it is missing, until unlock is called.
func (l *Locker) Exclude(path string) (unlock func(), err error) {
	removeLock := func() {}
	if l.Methods.Dotlock {
		if removeLock, err = l.dotlock(path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		if err = l.lock(f); err != nil {
			f.Close()
		}
	}
	if err != nil {
		removeLock()
		return nil, err
	}
	return func() {
		f.Close()
		removeLock()
	}, nil
}
