// Package record is the form of Postfix's queue files and of the streams on
// which messages travel between services.
//
// A record is a type octet, a length in groups of seven bits, least
// significant first, where the high bit says that another follows, and that
// many octets of data. Nothing ends or aligns a record. The lines of a message
// are stored without their line end. A message is an envelope, the marker
// Mesg, the content, the marker Xtra, what was extracted from the content, and
// the marker End; what follows End in a file is reached by pointers only.
package record

// A Type says what a record means. It is the first octet of the record.
type Type byte

// The types, with the words that postcat prints for them in their comments.
const (
	Size     Type = 'C' // message_size: the first record of a file, see Sizes
	Time     Type = 'T' // message_arrival_time: "seconds microseconds"
	CTime    Type = 'c' // queue_file_create_time; stored as attribute create_time
	FullName Type = 'F' // sender_fullname
	Inspect  Type = 'I' // content_inspector; unused
	Filter   Type = 'L' // content_filter; in the envelope and extracted segments
	Sender   Type = 'S' // sender; may be empty
	Done     Type = 'D' // done_recipient: delivered or bounced
	Rcpt     Type = 'R' // recipient to do
	OrigRcpt Type = 'O' // original_recipient; precedes Rcpt
	Canceled Type = '/' // canceled_recipient: removed by a milter
	Warn     Type = 'W' // warning_message_time: when to tell the sender of the delay
	Attr     Type = 'A' // named_attribute: "name=value"
	Killed   Type = 'K' // killed_record: to skip
	Redirect Type = '>' // redirect_to
	Flags    Type = 'f' // flags; only on the way to cleanup
	Delay    Type = 'd' // delay; only on the way to cleanup
	Mesg     Type = 'M' // message_content: the marker before the content
	Cont     Type = 'L' // unterminated_text: a piece of a line; in the content
	Norm     Type = 'N' // regular_text: a line, or the last piece of one
	Pad      Type = 'w' // padding, which readers skip
	Xtra     Type = 'X' // extracted_info: the marker after the content
	RRTo     Type = 'r' // return_receipt, from a header
	ErrTo    Type = 'e' // errors_to, from a header
	Prio     Type = 'P' // priority; unused
	Ptr      Type = 'p' // pointer_record: an offset in the file; 0 is no jump
	Verp     Type = 'V' // verp_delimiters: two octets
	DSNRet   Type = '<' // dsn_return_flags; stored as attribute ret_flags
	DSNEnvID Type = 'i' // dsn_envelope_id; stored as attribute envelope_id
	DSNOrig  Type = 'o' // dsn_original_recipient; stored as attribute dsn_orig_rcpt
	Notify   Type = 'n' // dsn_notify_flags; stored as attribute notify_flags
	Milters  Type = 'm' // milter count; only on the way to cleanup
	End      Type = 'E' // message_end
)

// String returns the word that postcat prints for the type.
func (t Type) String() string {
	for _, n := range names {
		if n.typ == t {
			return n.name
		}
	}
	return "unknown_record_type"
}

var names = [...]struct {
	typ  Type
	name string
}{
	{Size, "message_size"},
	{Time, "message_arrival_time"},
	{CTime, "queue_file_create_time"},
	{FullName, "sender_fullname"},
	{Inspect, "content_inspector"},
	{Filter, "content_filter"},
	{Sender, "sender"},
	{Done, "done_recipient"},
	{Rcpt, "recipient"},
	{OrigRcpt, "original_recipient"},
	{Canceled, "canceled_recipient"},
	{Warn, "warning_message_time"},
	{Attr, "named_attribute"},
	{Killed, "killed_record"},
	{Redirect, "redirect_to"},
	{Flags, "flags"},
	{Mesg, "message_content"},
	{Norm, "regular_text"},
	{Pad, "padding"},
	{Xtra, "extracted_info"},
	{RRTo, "return_receipt"},
	{ErrTo, "errors_to"},
	{Prio, "priority"},
	{Ptr, "pointer_record"},
	{Verp, "verp_delimiters"},
	{DSNRet, "dsn_return_flags"},
	{DSNEnvID, "dsn_envelope_id"},
	{DSNOrig, "dsn_original_recipient"},
	{Notify, "dsn_notify_flags"},
	{End, "message_end"},
}

// AttrType returns the type of record that a named attribute stands for, or
// Attr when it is an attribute only.
func AttrType(name string) Type {
	switch name {
	case "create_time":
		return CTime
	case "ret_flags":
		return DSNRet
	case "envelope_id":
		return DSNEnvID
	case "dsn_orig_rcpt":
		return DSNOrig
	case "notify_flags":
		return Notify
	}
	return Attr
}
