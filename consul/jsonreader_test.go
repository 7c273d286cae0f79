// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
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
		r := strings.NewReader(answer)
		d := NewJSONReader(r, new(Options).NewBudget())
		err := d.Whole(func() error {
			return d.Object(func([]byte) error {
				_, err := d.Word()
				return err
			})
		})
		if !errors.Is(err, tc.want) {
			t.Errorf("%d bytes: error %v; want %v", tc.length, err, tc.want)
		}
		if read := len(answer) - r.Len(); tc.want != nil && read > 4*aheadBytes {
			t.Errorf("%d bytes are read; want about %d", read, aheadBytes)
		}
	}
}

// What is not what it should be is an error, null is nothing, and what is kept is taken off the budget.
func TestJSONReader(t *testing.T) {
	t.Parallel()
	type element struct{ Name string }
	for _, tc := range []struct{ name, answer, want, err string }{
		{
			"all",
			`{"list":[{"Name":"a"},null,{"Name":"b"}],"map":{"x":{"Name":"c"},"y":null},"text":"d","same":"\u0064","x":1}`,
			"a b x=c d d", "",
		},
		{"null", `{"list":null,"map":null,"text":null,"same":null}`, "", ""},
		{"no object", `[]`, "", "there is no object"},
		{"no list", `{"list":{}}`, "", "there is no list after byte 7"},
		{"no text", `{"text":1}`, "", "there is no text after byte 7"},
		{"an element of another type", `{"list":[1]}`, "", "cannot unmarshal"},
		{"more", `{}{}`, "", "there is more after the end"},
		{"a long element", `{"list":[{"Name":"` + strings.Repeat("x", elementBytes) + `"}]}`, "", "longer than any"},
		{"too much", `{"list":[` + strings.Repeat(`{"Name":"a"},`, 20) + `null]}`, "", "larger than 256 bytes"},
	} {
		d := NewJSONReader(strings.NewReader(tc.answer), NewBudget(256))
		var words []string
		var elements []element
		err := d.Object(func(key []byte) error {
			var text string
			var err error
			switch string(key) {
			case "list":
				return EachElement(&d, func(e *element) (err error) {
					words = append(words, e.Name)
					elements, err = Keep(d.Memory, elements, *e)
					return err
				})
			case "map":
				return EachEntry(&d, func(key string, e *element) error {
					words = append(words, key+"="+e.Name)
					return nil
				})
			case "text":
				err = d.Text(&text)
			case "same":
				err = d.SharedText(&text)
			default:
				return d.SkipValue()
			}
			if text != "" {
				words = append(words, text)
			}
			return err
		})
		if err == nil {
			err = d.End()
		}
		expectError(t, err, tc.err)
		if got := strings.Join(words, " "); err == nil && got != tc.want {
			t.Errorf("%s: got %q; want %q", tc.name, got, tc.want)
		}
	}
}
