package queue

// An Op is a step on stable storage at which a test can make the queue fail.
type Op string

// The steps that Fault is asked about.
const (
	OpCreate Op = "create"
	OpWrite  Op = "write"
	OpRead   Op = "read"
	OpStat   Op = "stat"
	OpChmod  Op = "chmod"
	OpSync   Op = "fsync"
	OpRename Op = "rename"
	OpRemove Op = "unlink"
)

// A Fault decides whether a step fails: a nil error lets it happen.
type Fault func(op Op, q Name, id ID) error

// SetFault makes every later step of the store ask f first. It serves tests
// and must be called before the store is used.
func (s *Store) SetFault(f Fault) { s.fault = f }

func (s *Store) fails(op Op, q Name, id ID) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(op, q, id)
}
