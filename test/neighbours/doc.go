// Package neighbours runs Postern beside the programs of other projects that
// mail systems live with, as Debian packages them: Dovecot, saslauthd, milters,
// policy servers, mail clients. What is missing is skipped by name on a user's
// machine and required where CI is set.
package neighbours
