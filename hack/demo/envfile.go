package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// variable of a shell.
type variable struct{ name, value string }

// shellAssignments can be read by any POSIX shell, whatever the values hold.
func shellAssignments(variables []variable) string {
	var out strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&out, "%s=%s\n", v.name, shellQuote(v.value))
	}
	return out.String()
}

// shellQuote: nothing is special between single quotes but the single quote.
func shellQuote(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

// writeEnvFile writes a file for `set -a; . bin/demo.env`. It holds a secret, hence its mode.
func writeEnvFile(at paths, s state, held credential) error {
	pids := make([]string, len(s.Issuers))
	for i, issuer := range s.Issuers {
		pids[i] = strconv.Itoa(issuer.PID)
	}
	text := shellAssignments([]variable{
		{"KUBECONFIG", at.kubeconfig},
		{"M2M_ISSUER", held.issuer},
		{"M2M_CA_FILE", filepath.Join(at.credentials(), "ca.crt")},
		{"M2M_CLIENT_ID", held.clientID},
		{"M2M_CLIENT_SECRET", held.clientSecret},
		{"M2M_AUDIENCE", audience},
		{"M2M_SCOPE", scope},
		{"M2M_API", s.CourseAPI},
		{"M2M_MANAGER_PID", strconv.Itoa(s.ManagerPID)},
		{"M2M_ISSUER_PIDS", strings.Join(pids, " ")},
	})
	return writePrivate(at.env, []byte(text))
}

// writePrivate replaces a file by one that its owner alone can read, also if the old one was readable to others.
func writePrivate(path string, contents []byte) error {
	part := path + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.WriteFile(part, contents, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}
