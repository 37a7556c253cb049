// Package system is tables that ask the system: the environment ("environ"),
// the user database ("unix"), and one that always fails ("fail", for tests).
package system

import (
	"context"
	"errors"
	"fmt"
	"os"

	"postern/internal/table"
)

// Types returns the table types of this package.
func Types() []table.Type {
	return []table.Type{
		{Name: "environ", Fold: true, Open: openEnviron},
		{Name: "fail", Open: openFail, Create: createFail},
		{Name: "unix", Fold: true, Open: openUnix},
	}
}

type environ struct{}

func openEnviron(string, *table.Opener) (table.Table, error) { return environ{}, nil }

// Lookup returns the variable called key.
func (environ) Lookup(_ context.Context, key string) (string, bool, error) {
	v, ok := os.LookupEnv(key)
	return v, ok, nil
}

func (environ) Close() error { return nil }

type fail string

func openFail(name string, _ *table.Opener) (table.Table, error) { return fail(name), nil }

func createFail(name string, _ *table.Opener) (table.Builder, error) { return fail(name), nil }

func (f fail) Lookup(context.Context, string) (string, bool, error) {
	return "", false, fmt.Errorf("fail:%s: lookups of this table always fail", string(f))
}

func (fail) Put(string, string) error { return nil }
func (fail) Commit() error            { return errors.New("fail: updates of this table always fail") }
func (fail) Close() error             { return nil }
