module postern

go 1.26.0

require (
	github.com/miekg/dns v1.1.73
	github.com/rogpeppe/go-internal v1.16.0
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
	golang.org/x/text v0.43.0
)

require (
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
)

exclude github.com/ncruces/wasm2go v0.4.15
