// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"reflect"
	"sync/atomic"
)

// Budget is how much memory may be kept of an answer, or of several together. The length of an answer does not bound
// it: three bytes of JSON, "{},", can make a structure of hundreds. It is safe for concurrent use.
type Budget struct {
	limit int64
	spent atomic.Int64
}

// NewBudget returns one of as many bytes as an answer may have.
func (o *Options) NewBudget() *Budget { return NewBudget(o.maxResponseBytes()) }

// Spend takes what is kept off the budget.
func (b *Budget) Spend(bytes int64) error {
	if b.spent.Add(bytes) > b.limit {
		return TooLargeError{limit: b.limit}
	}
	return nil
}

// Keep appends to a list. Text is not counted: there is no more of it than there was in the answer.
func Keep[T any](b *Budget, list []T, v T) ([]T, error) {
	if err := b.Spend(int64(reflect.TypeFor[T]().Size())); err != nil {
		return nil, err
	}
	return append(list, v), nil
}

// NewBudget returns one of so many bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Spent is how much of it is kept.
func (b *Budget) Spent() int64 { return b.spent.Load() }
