// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// TokenFile is an ACL token in a file, read anew when it is asked for, so that a rotated token is used at once. A file
// that cannot be read leaves the last token in use: rotations replace files, and there is a moment without one.
type TokenFile struct {
	path    string
	onError func(error)

	mu     sync.Mutex
	token  string // Guarded by mu.
	failed bool   // Guarded by mu: the last read failed, and onError knows.
}

// NewTokenFile reads the file for the first time. When a later read fails where the one before did not, onError is called;
// its error has the path, never the content.
func NewTokenFile(path string, onError func(error)) (*TokenFile, error) {
	f := &TokenFile{path: path, onError: onError}
	token, err := readToken(path)
	if err != nil {
		return nil, err
	}
	f.token = token
	return f, nil
}

// Token returns the current token.
func (f *TokenFile) Token() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, err := readToken(f.path)
	switch {
	case err == nil:
		f.token, f.failed = token, false
	case !f.failed:
		f.failed = true
		f.onError(err)
	}
	return f.token
}

func readToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err // Says "open <path>: ...".
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return "", fmt.Errorf("token file %s is empty", path)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token file %s holds something else than one token", path)
	}
	return token, nil
}
