// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// KeyNumber is a key whose value is a number.
type KeyNumber struct {
	Key   string
	Value float64
}

// KeyNumbers are the keys below the prefix of the options whose values are numbers as consul_exporter reads them, in
// the order of Consul, which is that of their bytes. There are none, and nothing is read, without a prefix.
func (s *Snapshot) KeyNumbers() *Fact[[]KeyNumber] {
	return s.keyNumbers.Start(s.ctx, func(ctx context.Context) (numbers []KeyNumber, err error) {
		prefix := s.cluster.opts.KVPrefix
		if prefix == "" {
			return nil, nil
		}
		ep := endpointKeys(prefix)
		ep.Decode = func(r io.Reader) (err error) {
			numbers, err = decodeKeys(r, s.cluster.opts.Client.NewBudget())
			return err
		}
		err = s.readAgent(ctx, ep, nil)
		if errors.Is(err, consul.ErrNothing) {
			return nil, nil
		}
		return numbers, err
	})
}

// endpointKeys answers with all keys that begin with a prefix, and with 404 if there are none. No key begins with a
// slash.
func endpointKeys(prefix string) consul.Endpoint {
	return consul.Endpoint{
		Path: "/v1/kv/" + strings.TrimPrefix(prefix, "/"), Label: "/v1/kv/:prefix", Params: url.Values{"recurse": {"1"}},
		HasMeta: true, Chosen: true, MaybeEmpty: true,
	}
}

// maxNumberText is longer than the base64 of any number that somebody would write down. Longer values are no numbers.
const maxNumberText = 1024

// decodeKeys reads an answer of endpointKeys: a list of keys with their values in base64.
func decodeKeys(r io.Reader, memory *consul.Budget) ([]KeyNumber, error) {
	d := consul.NewJSONReader(r, memory)
	var numbers []KeyNumber
	err := d.Whole(func() error {
		key, value, err := keyValue(&d)
		if number, ok := parseNumber(value); ok && err == nil {
			numbers, err = consul.Keep(memory, numbers, KeyNumber{key, number})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decode the keys: %w", err)
	}
	return numbers, nil
}

// keyValue decodes a key and its value, which is empty if it cannot be a number.
func keyValue(d *consul.JSONReader) (key, value string, err error) {
	err = d.Object(func(field []byte) error {
		switch string(field) {
		case "Key":
			return d.Text(&key)
		case "Value":
			word, err := d.Word()
			if len(word) <= maxNumberText {
				value = string(word)
			}
			return err
		default:
			return d.SkipValue()
		}
	})
	return key, value, err
}

// parseNumber reads a number in base64.
func parseNumber(value string) (float64, bool) {
	text, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(text) == 0 {
		return 0, false
	}
	number, err := strconv.ParseFloat(string(text), 64)
	return number, err == nil
}
