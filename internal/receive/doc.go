// Package receive is the wing where mail comes in.
package receive
