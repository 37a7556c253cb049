package source

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"postern/internal/base/errno"
)

// maxFileValue bounds what -F stores under one key.
const maxFileValue = 1 << 24

// FileValue returns, for "postmap -F", the contents of the files that list
// names, separated by commas or white space, in base64. Contents are joined
// with a line end between them.
func FileValue(list string) (string, error) {
	var all []byte
	for i, path := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("open %s: %w", path, errno.LibC(err))
		}
		if i > 0 && len(all) > 0 {
			all = append(all, '\n')
		}
		if all = append(all, b...); len(all) > maxFileValue {
			return "", fmt.Errorf("%s: file is too large", path)
		}
	}
	if len(all) == 0 {
		return "", fmt.Errorf("empty pathname list: >>%s<<'", list)
	}
	return base64.StdEncoding.EncodeToString(all), nil
}
