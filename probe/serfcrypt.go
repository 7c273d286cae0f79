// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// An encrypted message is a version byte, a nonce, the ciphertext and its tag, by AES-GCM (memberlist: security.go).
const (
	// serfMaxVersion is the newest version; version 0 pads the plain text as PKCS #7 does and is not sent any more.
	serfMaxVersion = 1
	// serfOverhead is what version, nonce and tag take.
	serfOverhead = 1 + 12 + 16
)

// errSerfOtherKey: the server encrypts with a key that is not known here.
var errSerfOtherKey = errors.New("none of the gossip keys decrypts the answer")

// serfWire encodes and decodes gossip messages with one set of keys.
type serfWire struct {
	// ciphers has one for each key. They put a random nonce in front of what they seal.
	ciphers []cipher.AEAD
	// plain is whether questions are in plain text.
	plain bool
}

func newSerfWire(target SerfTarget) (*serfWire, error) {
	if target.Encrypted && len(target.Keys) == 0 {
		return nil, errSerfNoKey
	}
	w := &serfWire{plain: !target.Encrypted}
	for i, key := range target.Keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("use gossip key number %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("use gossip key number %d: %w", i+1, err)
		}
		w.ciphers = append(w.ciphers, aead)
	}
	return w, nil
}

// encrypt appends a message to dst, encrypted with the first key.
func (w *serfWire) encrypt(dst, msg, additional []byte) []byte {
	return w.ciphers[0].Seal(append(dst, serfMaxVersion), nil, msg, additional)
}

// decrypt tries all keys.
func (w *serfWire) decrypt(sealed, additional []byte) ([]byte, error) {
	switch {
	case len(sealed) < serfOverhead:
		return nil, errSerfShort
	case sealed[0] > serfMaxVersion:
		return nil, fmt.Errorf("encryption version %d is unknown", sealed[0])
	}
	for _, aead := range w.ciphers {
		plain, err := aead.Open(nil, nil, sealed[1:], additional)
		switch {
		case err != nil:
			continue
		case sealed[0] == 0:
			return unpad(plain)
		default:
			return plain, nil
		}
	}
	return nil, errSerfOtherKey
}

// unpad removes the padding of PKCS #7. It need not hide where the padding is wrong: the text is authenticated already.
func unpad(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errSerfShort
	}
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize || n > len(b) {
		return nil, errors.New("padding of an encrypted message is wrong")
	}
	return b[:len(b)-n], nil
}
