// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
)

// TokenFile is an ACL token in a file, which is read again for each use, so that a rotated token is used at once. See
// files.Watched.
type TokenFile struct{ file *files.Watched[string] }

// NewTokenFile reads the file for the first time. onError is called when a later read fails for the first time; its
// error has the path, never the content.
func NewTokenFile(path string, onError func(error)) (*TokenFile, error) {
	file, err := files.Watch(parseToken, onError, files.Source{Path: path})
	if err != nil {
		return nil, err
	}
	return &TokenFile{file}, nil
}

// Token returns the current token.
func (f *TokenFile) Token() string { return f.file.Value() }

// Failing returns why the file could not be read again; nil if it could.
func (f *TokenFile) Failing() error { return f.file.Failing() }

func parseToken(read []files.File) (string, error) {
	path, token := read[0].Path, strings.TrimSpace(string(read[0].Content))
	if token == "" {
		return "", fmt.Errorf("token file %s is empty", path)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token file %s holds something else than one token", path)
	}
	return token, nil
}
