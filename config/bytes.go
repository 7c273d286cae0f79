// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"

	"github.com/alecthomas/units"
)

// Bytes is a number of bytes. It is written as such, or like 64MiB.
type Bytes int64

func (b Bytes) String() string { return units.Base2Bytes(b).String() }

// Set reads it from a flag.
func (b *Bytes) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		var size units.Base2Bytes
		size, err = units.ParseBase2Bytes(text)
		n = int64(size)
	}
	if err != nil {
		return fmt.Errorf("%.40q is no size; want for example 64MiB", text)
	}
	*b = Bytes(n)
	return nil
}

// UnmarshalText reads it from a configuration file.
func (b *Bytes) UnmarshalText(text []byte) error { return b.Set(string(text)) }
