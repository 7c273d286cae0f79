// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
)

// KeyFile is a file of gossip encryption keys, which is read again for each use, so that a rotated key is used at
// once. See files.Watched.
//
// The file has one key in a line as `consul keygen` prints them, or it is a JSON list as in Consul's own
// serf/local.keyring. The first one encrypts, and any of them decrypts.
type KeyFile struct{ file *files.Watched[[][]byte] }

var (
	errNoKeys    = errors.New("holds no key")
	errNoKeyList = errors.New("begins like a JSON list and is none of texts")
)

// NewKeyFile reads the file for the first time. onError is called when a later read fails for the first time; its
// error has the path, never the content.
func NewKeyFile(path string, onError func(error)) (*KeyFile, error) {
	file, err := files.Watch(parseKeyFile, onError, files.Source{Path: path})
	if err != nil {
		return nil, err
	}
	return &KeyFile{file}, nil
}

// Keys returns the current keys, at least one. They are not to be changed.
func (f *KeyFile) Keys() [][]byte { return f.file.Value() }

// Failing returns why the file could not be read again; nil if it could.
func (f *KeyFile) Failing() error { return f.file.Failing() }

func parseKeyFile(read []files.File) ([][]byte, error) {
	keys, err := parseKeys(read[0].Content)
	if err != nil {
		return nil, fmt.Errorf("key file %s %w", read[0].Path, err)
	}
	return keys, nil
}

// parseKeys reads a list of keys. Its errors complete "key file ... " and never have a part of a key.
func parseKeys(content []byte) ([][]byte, error) {
	var texts []string
	if content = bytes.TrimSpace(content); bytes.HasPrefix(content, []byte("[")) {
		if err := json.Unmarshal(content, &texts); err != nil {
			return nil, errNoKeyList
		}
	} else {
		for line := range bytes.Lines(content) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				texts = append(texts, string(line))
			}
		}
	}
	if len(texts) == 0 {
		return nil, errNoKeys
	}
	keys := make([][]byte, 0, len(texts))
	for i, text := range texts {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("holds as its key %d something else than base64", i+1)
		}
		switch len(key) {
		case 16, 24, 32: // AES-128, AES-192 and AES-256.
			keys = append(keys, key)
		default:
			return nil, fmt.Errorf("holds as its key %d one of %d bytes; want 16, 24 or 32", i+1, len(key))
		}
	}
	return keys, nil
}
