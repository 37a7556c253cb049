// Package arch holds only tests: the storeys of the house, the dependency lists
// of the set-gid programs, and the register of parameters.
package arch
