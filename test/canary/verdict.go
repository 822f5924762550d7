package canary

import (
	"flag"
	"fmt"
	"io"
)

// Verdict is for the end of TestMain: it tells of leaks, and returns the exit code of the run. A run of all tests that
// had nothing to look for, or nothing to look at, fails as well.
func (r *Run) Verdict(out io.Writer, code int) int {
	leaks := r.Leaks()
	for _, leak := range leaks {
		fmt.Fprintln(out, "a secret was written down:", leak)
	}
	canaries, evidence := r.Size()
	everything := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""
	if everything && code == 0 && (canaries == 0 || evidence == 0) {
		fmt.Fprintf(out, "looked for %d secrets in %d bytes: the run does not tell what it knows\n", canaries, evidence)
		return 1
	}
	if len(leaks) > 0 {
		return 1
	}
	return code
}
