// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
)

// OwnCertificate is a certificate that this process has loaded from a file, to show it or to trust it.
type OwnCertificate struct {
	// File is the path of the file that it is in.
	File string
	// Subject is the common name, or else the first name that the certificate is for.
	Subject string
	// Authority is whether it is one to trust, and not the one to show.
	Authority bool
	Expiry    time.Time
	// Lifetime is how long it is valid in all.
	Lifetime time.Duration
}

func newOwnCertificate(file string, cert *x509.Certificate) OwnCertificate {
	names := []string{cert.Subject.CommonName}
	names = append(names, cert.DNSNames...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	return OwnCertificate{
		File: file, Subject: cmp.Or(append(names, cert.Subject.String())...),
		Expiry: cert.NotAfter, Lifetime: cert.NotAfter.Sub(cert.NotBefore),
	}
}

// Certificates returns the certificate that is shown and the authority that is next to expire, with what the files hold
// now.
func (t *TLS) Certificates(now time.Time) []OwnCertificate {
	if t == nil {
		return nil
	}
	var all []OwnCertificate
	if t.certificate != nil {
		all = append(all, t.certificate.Value().own)
	}
	if t.authorities != nil {
		all = append(all, t.authorities.Value().next(now))
	}
	return all
}

// shown is a client certificate with its key.
type shown struct {
	pair tls.Certificate
	// own is that of its chain which expires first: without it there is no chain.
	own OwnCertificate
}

// parseCertificate reads a client certificate and its key. While both are being replaced they may not match.
func parseCertificate(read []files.File) (*shown, error) {
	pair, err := tls.X509KeyPair(read[0].Content, read[1].Content)
	if err != nil {
		return nil, fmt.Errorf("certificate %s and key %s: %w", read[0].Path, read[1].Path, err)
	}
	chain := parsePEM(read[0].Content) // Not empty, as there is a pair.
	first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return &shown{pair, newOwnCertificate(read[0].Path, first)}, nil
}

// authorities are those of one or several files.
type authorities struct {
	pool *x509.CertPool
	// each has an authority once, as it is valid for longest: one that was issued anew for the same key stays in a bundle
	// beside the old one.
	each []OwnCertificate
}

// next returns the authority that is next to expire of those that have not; the last one if all have. An authority that
// has expired is left in a bundle for long after its successor has come, and says nothing.
func (a *authorities) next(now time.Time) OwnCertificate {
	valid := slices.DeleteFunc(slices.Clone(a.each), func(c OwnCertificate) bool { return !c.Expiry.After(now) })
	byExpiry := func(a, b OwnCertificate) int { return a.Expiry.Compare(b.Expiry) }
	if len(valid) == 0 {
		return slices.MaxFunc(a.each, byExpiry)
	}
	return slices.MinFunc(valid, byExpiry)
}

func parseAuthorities(read []files.File) (*authorities, error) {
	a := &authorities{pool: x509.NewCertPool()}
	index := make(map[string]int) // Into each, by name and key.
	for _, file := range read {
		certs := parsePEM(file.Content)
		if len(certs) == 0 {
			return nil, fmt.Errorf("file %s has no PEM certificate", file.Path)
		}
		for _, cert := range certs {
			a.pool.AddCert(cert)
			own := newOwnCertificate(file.Path, cert)
			own.Authority = true
			identity := string(cert.RawSubject) + string(cert.RawSubjectPublicKeyInfo)
			if i, ok := index[identity]; !ok {
				index[identity] = len(a.each)
				a.each = append(a.each, own)
			} else if a.each[i].Expiry.Before(own.Expiry) {
				a.each[i] = own
			}
		}
	}
	return a, nil
}

// parsePEM returns the certificates in a PEM file, without what else is there.
func parsePEM(content []byte) (certs []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return certs
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			certs = append(certs, cert)
		}
	}
}
