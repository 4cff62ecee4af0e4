// Package tap: a stand-in for the TAP printer that the OCI validation programs import.
// Written from the programs' calls and the TAP 13 format.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T prints TAP.
type T struct {
	n      int
	todo   string
	Writer io.Writer
}

// New gives a printer to standard output.
func New() *T { return &T{Writer: os.Stdout} }

func (t *T) w() io.Writer {
	if t.Writer == nil {
		return os.Stdout
	}
	return t.Writer
}

// Header prints the version, and the plan when it is known.
func (t *T) Header(count int) {
	fmt.Fprintln(t.w(), "TAP version 13")
	if count > 0 {
		fmt.Fprintf(t.w(), "1..%d\n", count)
	}
}

// Count is the number of tests printed so far.
func (t *T) Count() int { return t.n }

func line(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// Ok prints one result.
func (t *T) Ok(ok bool, description string) {
	t.n++
	s := "ok"
	if !ok {
		s = "not ok"
	}
	fmt.Fprintf(t.w(), "%s %d -%s %s\n", s, t.n, t.todo, line(description))
}

// Pass is a passed test.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail is a failed test.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip prints count skipped tests.
func (t *T) Skip(count int, description string) {
	for i := 0; i < count; i++ {
		t.n++
		fmt.Fprintf(t.w(), "ok %d # SKIP %s\n", t.n, line(description))
	}
}

// Todo gives a printer whose failures are expected ones.
func (t *T) Todo() *T { c := *t; c.todo = " # TODO"; return &c }

// AutoPlan prints the plan from the number of tests seen.
func (t *T) AutoPlan() { fmt.Fprintf(t.w(), "1..%d\n", t.n) }

// Diagnostic prints a comment.
func (t *T) Diagnostic(message string) {
	fmt.Fprintf(t.w(), "# %s\n", strings.ReplaceAll(message, "\n", "\n# "))
}

// Diagnosticf prints a formatted comment.
func (t *T) Diagnosticf(format string, args ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, args...))
}

// YAML prints a diagnostic block (JSON is YAML).
func (t *T) YAML(message interface{}) error {
	b, err := json.MarshalIndent(message, "  ", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(t.w(), "  ---\n  %s\n  ...\n", b)
	return nil
}
