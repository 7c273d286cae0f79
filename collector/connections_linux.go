// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/procfs"
)

// hostSockets lists the TCP sockets of this host, of IPv4 and IPv6.
func hostSockets() ([]socket, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	// The netlink socket that procfs recommends instead needs one more dependency, and the time that /proc takes to list some
	// thousand sockets is no matter here.
	//lint:ignore SA1019 See above.
	v4, err := proc.NetTCP() //nolint:staticcheck // See above.
	if err != nil {
		return nil, fmt.Errorf("read TCP sockets: %w", err)
	}
	//lint:ignore SA1019 See above.
	v6, err := proc.NetTCP6()                          //nolint:staticcheck // See above.
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // IPv6 may be off.
		return nil, fmt.Errorf("read TCP sockets of IPv6: %w", err)
	}
	sockets := make([]socket, 0, len(v4)+len(v6))
	for _, line := range append(v4, v6...) {
		sockets = append(sockets, socket{line.LocalAddr, line.LocalPort, line.St})
	}
	return sockets, nil
}
