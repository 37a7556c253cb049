package harness

import "strings"

// Diff shows the lines in which two texts differ, "-" wanted, "+" got, by the
// longest common subsequence.
func Diff(wanted, seen string) string {
	want, got := strings.Split(wanted, "\n"), strings.Split(seen, "\n")
	common := make([][]int, len(want)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			out.WriteString("\t- " + want[i] + "\n")
			i++
		default:
			out.WriteString("\t+ " + got[j] + "\n")
			j++
		}
	}
	return out.String()
}
