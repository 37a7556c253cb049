// Package deliver is the wing where mail goes out: the queue manager, the kit
// from which delivery agents are made, and the agents.
package deliver
