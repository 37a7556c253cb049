// Package config is the storey of the two configuration files: main.cf with its
// parameters, and master.cf.
package config
