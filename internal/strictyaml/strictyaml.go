// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package strictyaml reads configuration files in which every key must be known, and says what is wrong with them in
// words for operators.
package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/redact"
)

// Decode reads one YAML document: what into does not know is an error. Nothing at all is fine, and leaves into as it
// is. The error has all problems, one in a line, each with the number of its line in the document; see InFile.
func Decode(content []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	err := decoder.Decode(into)
	lines, several := errors.AsType[*yaml.TypeError](err)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case several:
		var errs []error
		for _, line := range lines.Errors {
			errs = append(errs, errors.New(readable(line, content)))
		}
		return errors.Join(errs...)
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	case !errors.Is(decoder.Decode(&yaml.Node{}), io.EOF):
		return errors.New("the file has more than one document")
	default:
		return nil
	}
}

// InFile puts the file before each line of an error.
func InFile(path string, err error) error {
	var errs []error
	for line := range strings.Lines(redact.Text(err.Error())) {
		errs = append(errs, fmt.Errorf("%s: %s", path, strings.TrimSpace(line)))
	}
	return errors.Join(errs...)
}

var (
	unknownKey = regexp.MustCompile(`^(line \d+): field (.*) not found in type \S+$`)
	wrongType  = regexp.MustCompile(`(?s)^(line \d+): cannot unmarshal .* into (\S+)$`)
	duplicate  = regexp.MustCompile(`^(line \d+): mapping key ("[^"]*") already defined at (line \d+)$`)
)

// wanted are the types of Go in words.
var wanted = map[string]string{
	"string": "a text", "int": "a whole number such as 8", "bool": "true or false",
	"[]string":      "a list of texts such as [a, b]",
	"time.Duration": "a duration such as 500ms or 3s",
}

// readable says for users what the library says for programmers. It leaves out values: someone may have written a
// secret where its file is wanted.
func readable(line string, content []byte) string {
	if m := unknownKey.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%s: there is no key %q here", m[1], m[2])
	}
	if m := duplicate.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%s: %s is there already, in %s", m[1], m[2], m[3])
	}
	m := wrongType.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	return fmt.Sprintf("%s%s: want %s", m[1], keyIn(content, m[1]), cmp.Or(wanted[m[2]], "keys with values"))
}

// onlyKey matches a line with one key and something behind it.
var onlyKey = regexp.MustCompile(`^[\s-]*(\w+):[^:]+$`)

// keyIn is the key in a line of a document, as it continues "line 3", or empty if there is not exactly one.
func keyIn(content []byte, line string) string {
	lines := strings.Split(string(content), "\n")
	n, err := strconv.Atoi(strings.TrimPrefix(line, "line "))
	if err != nil || n > len(lines) {
		return ""
	}
	if m := onlyKey.FindStringSubmatch(lines[n-1]); m != nil {
		return ", " + m[1]
	}
	return ""
}
