// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// JSONReader reads long answers while they arrive, token by token. Null counts as nothing being there.
type JSONReader struct {
	*jsontext.Decoder
	Memory *Budget
	texts  texts
	// unquoted is the last word that had escapes.
	unquoted []byte
}

// NewJSONReader returns one that does not check for duplicate names and invalid UTF-8, which would take a quarter of
// the time. What is kept of the answer is taken off the budget.
func NewJSONReader(r io.Reader, memory *Budget) JSONReader {
	ahead := &readAhead{Reader: r}
	ahead.decoder = jsontext.NewDecoder(ahead, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return JSONReader{Decoder: ahead.decoder, Memory: memory}
}

// Streamed returns what decodes an answer, as Endpoint.Decode, with a function that reads all of it within the budget.
func Streamed(memory *Budget, decode func(*JSONReader) error) func(io.Reader) error {
	return func(r io.Reader) error {
		d := NewJSONReader(r, memory)
		err := decode(&d)
		if err == nil {
			err = d.End()
		}
		if err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		return nil
	}
}

// aheadBytes bounds what is read and not decoded yet, which the decoder has to keep in memory: a text or an element.
// The longest text is the value of a key, with 700 KB.
const aheadBytes = 4 << 20

// readAhead fails when that is more.
type readAhead struct {
	io.Reader

	decoder *jsontext.Decoder
	read    int64
}

func (r *readAhead) Read(p []byte) (int, error) {
	if r.read-r.decoder.InputOffset() > aheadBytes {
		return 0, ErrLongElement
	}
	n, err := r.Reader.Read(p)
	r.read += int64(n)
	return n, err
}

// ErrLongElement means that a part of an answer is too long to be decoded.
var ErrLongElement = errors.New("a text or an element is longer than any that Consul answers with")

// elementBytes bounds one element that is decoded as a whole: a member, a check, an instance. Consul's have some
// hundred bytes, and with the output of a check 5 KB.
const elementBytes = 256 << 10

// Element decodes the next value as a whole.
func (d *JSONReader) Element(into any) error {
	raw, err := d.ReadValue()
	if err != nil {
		return err
	}
	if len(raw) > elementBytes {
		return fmt.Errorf("%w: %d bytes", ErrLongElement, len(raw))
	}
	return json.Unmarshal(raw, into)
}

// Whole reads an answer that is a list and nothing else, see list. Null is no answer.
func (d *JSONReader) Whole(element func() error) error {
	if d.PeekKind() == jsontext.KindNull {
		return errNoList
	}
	if err := d.List(element); err != nil {
		return err
	}
	return d.End()
}

// End reports an answer that goes on after its end.
func (d *JSONReader) End() error {
	if d.PeekKind() != jsontext.KindInvalid {
		return errors.New("there is more after the end")
	}
	return nil
}

// List calls element for each element of a list, which element must decode or skip.
func (d *JSONReader) List(element func() error) error {
	return d.each(jsontext.KindBeginArray, jsontext.KindEndArray, errNoList, element)
}

// Object calls field for each field of an object, whose value field must decode or skip. The key is valid until then.
func (d *JSONReader) Object(field func(key []byte) error) error {
	return d.each(jsontext.KindBeginObject, jsontext.KindEndObject, ErrNoObject, func() error {
		key, err := d.Word()
		if err == nil {
			err = field(key)
		}
		return err
	})
}

// each calls next until what has begun ends. It is none if it does not begin like that.
func (d *JSONReader) each(begin, end jsontext.Kind, none error, next func() error) error {
	switch d.PeekKind() {
	case jsontext.KindNull:
		return d.SkipValue()
	case begin, jsontext.KindInvalid: // The latter is an error that reading returns.
	default:
		return fmt.Errorf("%w after byte %d", none, d.InputOffset())
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != end {
		if err := next(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// ErrNoObject means that there is something else, or null, where an object should be.
var ErrNoObject = errors.New("there is no object")

var (
	errNoList = errors.New("there is no list")
	errNoText = errors.New("there is no text")
)

// Text decodes a text.
func (d *JSONReader) Text(into *string) error {
	b, err := d.Word()
	if err == nil {
		*into = string(b)
	}
	return err
}

// Word decodes a text, which is valid until the next is read. Null is an empty one.
func (d *JSONReader) Word() ([]byte, error) {
	switch d.PeekKind() {
	case jsontext.KindNull:
		return nil, d.SkipValue()
	case jsontext.KindString, jsontext.KindInvalid:
	default:
		return nil, fmt.Errorf("%w after byte %d", errNoText, d.InputOffset())
	}
	quoted, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	if plain := quoted[1 : len(quoted)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return plain, nil
	}
	d.unquoted, err = jsontext.AppendUnquote(d.unquoted[:0], quoted)
	return d.unquoted, err
}

// EachElement decodes a list, and calls use for each element of it that is not null.
func EachElement[T any](d *JSONReader, use func(*T) error) error {
	return d.List(func() error { return useElement(d, use) })
}

// EachEntry decodes an object, and calls use for each field of it that is not null.
func EachEntry[T any](d *JSONReader, use func(key string, value *T) error) error {
	return d.Object(func(key []byte) error {
		name := string(key)
		return useElement(d, func(v *T) error { return use(name, v) })
	})
}

func useElement[T any](d *JSONReader, use func(*T) error) error {
	var v *T
	if err := d.Element(&v); err != nil || v == nil {
		return err
	}
	return use(v)
}
