// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// A text that does not end is not collected until the answer is too large, one as long as a key's value may be is
// read.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		length int
		want   error
	}{{700_000, nil}, {aheadBytes, nil}, {64 << 20, ErrLongElement}} {
		answer := `[{"Key":"a","Value":"` + strings.Repeat("x", tc.length) + `"}]`
		counted := &countingReader{Reader: strings.NewReader(answer)}
		d := NewJSONReader(counted, new(Options).NewBudget())
		err := d.Whole(func() error {
			return d.Object(func([]byte) error {
				_, err := d.Word()
				return err
			})
		})
		if !errors.Is(err, tc.want) {
			t.Errorf("%d bytes: error %v; want %v", tc.length, err, tc.want)
		}
		if tc.want != nil && counted.read > 4*aheadBytes {
			t.Errorf("%d bytes are read; want about %d", counted.read, aheadBytes)
		}
	}
}

type countingReader struct {
	io.Reader

	read int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.read += n
	return n, err
}
